"""Logs of attempts, which are read once or followed while the attempt runs."""

import codecs
from collections.abc import Iterator

from ffrtmp_client.api import Master
from ffrtmp_client.deadline import Deadline
from ffrtmp_client.errors import RefusedError, UnreachableError

LOG_MAX_BYTES = 1024**3
"""Maximum size of a log that is read at once, in bytes."""

_READ_TIMEOUT_S = 600.0
_PAUSE_S = 1.0
_ATTEMPT_PAUSE_S = 2.0


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


def follow_lines(master: Master, job_id: str, attempt: int) -> Iterator[str]:
    """Yield the lines of the log of an attempt until the attempt ends.

    The master sends nothing while the log is unchanged, and closes the response when it stops. Then
    the log is requested again, and the bytes that were already received are skipped.

    Args:
        master: Connection to the master.
        job_id: Id of the job.
        attempt: Number of the attempt; 0 if there is none.
    """
    received = 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    while attempt:
        skipped = received
        try:
            params = {"attempt": str(attempt), "follow": "true"}
            for piece in master.stream(f"/v1/jobs/{job_id}/log", params):
                new = piece[skipped:]
                skipped = max(0, skipped - len(piece))
                received += len(new)
                *lines, rest = (rest + decoder.decode(new)).split("\n")
                yield from lines
            if not _is_running(master, job_id, attempt):
                break
        except UnreachableError:
            # The log was quiet for longer than the timeout, or the master is being restarted.
            pass
        except RefusedError as error:
            if not error.is_temporary:
                raise
        Deadline(_PAUSE_S).pause(_PAUSE_S)
    if rest:
        yield rest


def _is_running(master: Master, job_id: str, attempt: int) -> bool:
    job = master.get(f"/v1/jobs/{job_id}")
    return job["attempt"] == attempt and job["state"] in ("leased", "running")
