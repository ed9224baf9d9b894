"""Logs of attempts, which are read once or followed while the attempt runs."""

import codecs
import contextlib
import time
from collections.abc import Callable, Iterator

from ffrtmp_client.api import Master
from ffrtmp_client.deadline import Deadline
from ffrtmp_client.errors import ApiError, UnreachableError

LOG_MAX_BYTES = 1024**3
"""Maximum size of a log that is read at once, in bytes."""

_READ_TIMEOUT_S = 600.0
_PAUSE_S = 1.0
_ATTEMPT_PAUSE_S = 2.0
_OUTAGE_MAX_S = 600.0


def read_log(master: Master, job_id: str, attempt: int) -> str:
    """Return the log of an attempt.

    Args:
        master: Connection to the master.
        job_id: Id of the job.
        attempt: Number of the attempt; 0 if there is none, for which the log is empty.
    """
    if attempt == 0:
        return ""
    return master.text(
        f"/v1/jobs/{job_id}/log", {"attempt": str(attempt)}, LOG_MAX_BYTES, _READ_TIMEOUT_S
    )


def wait_for_attempt(master: Master, job_id: str) -> int:
    """Wait for the first attempt of a job and return its number, or 0 if the job ended without one.

    Args:
        master: Connection to the master.
        job_id: Id of the job.
    """
    while True:
        job = master.get(f"/v1/jobs/{job_id}")
        if job["attempt"] or job["state"] != "queued":
            return int(job["attempt"])
        Deadline(_ATTEMPT_PAUSE_S).pause(_ATTEMPT_PAUSE_S)


def follow_lines(
    master: Master,
    job_id: str,
    attempt: int,
    report: Callable[[str], None],
    outage_max_s: float = _OUTAGE_MAX_S,
) -> Iterator[str]:
    """Yield the lines of the log of an attempt until the attempt ends.

    The master sends nothing while the log is unchanged, and closes the response when it stops. Then
    the log is requested again, and the bytes that were already received are skipped.

    Args:
        master: Connection to the master.
        job_id: Id of the job.
        attempt: Number of the attempt; 0 if there is none.
        report: Function that receives a message when the master becomes unavailable, and when it
            responds again.
        outage_max_s: Time for which an unavailable master is asked again, in seconds.

    Raises:
        ApiError: The master did not respond at first or for `outage_max_s`, or refused a request.
    """
    # The stream itself may be quiet for longer than the timeout although the master is available.
    if attempt:
        _is_running(master, job_id, attempt)
    outage = _Outage(report, outage_max_s)
    received = 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    while attempt:
        skipped, is_complete = received, False
        try:
            # The log was quiet for longer than the timeout, or the master is being restarted: the
            # request for the job decides.
            with contextlib.suppress(UnreachableError):
                params = {"attempt": str(attempt), "follow": "true"}
                for piece in master.stream(f"/v1/jobs/{job_id}/log", params):
                    new = piece[skipped:]
                    skipped = max(0, skipped - len(piece))
                    received += len(new)
                    *lines, rest = (rest + decoder.decode(new)).split("\n")
                    yield from lines
                is_complete = True
            is_running = _is_running(master, job_id, attempt)
            outage.end()
            if is_complete and not is_running:
                break
        except ApiError as error:
            outage.record(error)
        Deadline(_PAUSE_S).pause(_PAUSE_S)
    if rest:
        yield rest


def _is_running(master: Master, job_id: str, attempt: int) -> bool:
    job = master.get(f"/v1/jobs/{job_id}")
    return job["attempt"] == attempt and job["state"] in ("leased", "running")


class _Outage:
    """The time for which the master has been unavailable, which is reported once."""

    def __init__(self, report: Callable[[str], None], max_s: float) -> None:
        self._report = report
        self._max_s = max_s
        self._since_s: float | None = None

    def record(self, error: ApiError) -> None:
        """Record a failed request. Raises its error if no further request is to be made."""
        if not error.is_temporary:
            raise error
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s = now_s
            self._report(f"{error}. The job continues; retrying for {self._max_s:g} s.")
        elif now_s - self._since_s >= self._max_s:
            raise error

    def end(self) -> None:
        """Record that the master has responded."""
        if self._since_s is not None:
            self._report("The master responds again.")
        self._since_s = None
