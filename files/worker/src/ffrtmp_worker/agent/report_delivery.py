"""Delivery of the reports in a spool to the master.

While the master is unavailable, the delivery is repeated until it answers. A report that is
answered with another server error moves behind the others. An artifact that is refused permanently
is omitted and named in the report. Instead of a report that is refused permanently, a failure with
the reason is delivered. If the attempt is over on the master, the report is kept as rejected. A
result that a master of an older release cannot decode is deferred until the master is upgraded.
"""

import logging
import threading
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from ffrtmp_shared.agent_models import ResultReport
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.client import MasterClient, MasterRefusedError
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopStatus
from tenacity import RetryError

from ffrtmp_worker.activity import SpoolCounts
from ffrtmp_worker.agent.retry import is_temporary, retry_until_answered
from ffrtmp_worker.agent.spool import Spool
from ffrtmp_worker.agent.spooled_report import (
    DamagedEntryError,
    SpooledReport,
    describe_artifact,
    omit_artifact,
)

_log = logging.getLogger(__name__)

# The job does not exist any more, or the attempt has ended.
_OVER = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE)
# Server errors that concern all requests, because the master is stopping or its disk is full.
_OUTAGE = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE)

# Answers of an older master to a report with fields that it does not know.
_NOT_DECODED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)

_TRIES = 3
_PAUSE_S = 1.0
_MAX_DEFERRED = 20
_FIRST_DEFERRAL_S = 30.0
_LONGEST_DEFERRAL_S = 900.0


@dataclass(frozen=True)
class _Deferral:
    """The number of times that an entry was deferred, and the monotonic time of the next try."""

    count: int
    due_s: float


class ReportDelivery:
    """Delivers the reports of one slot, the oldest first."""

    def __init__(self, spool: Spool, stopped: threading.Event, status: LoopStatus) -> None:
        """Create the delivery.

        Args:
            spool: The spool that contains the reports.
            stopped: The event after which no request is repeated.
            status: The record of the loop that delivers the reports.
        """
        # An entry that raises an unexpected error must not keep the others from being delivered.
        self._entries = ItemGuard(status, passed_on=(RetryError,))
        self._spool = spool
        self._stopped = stopped
        self._deferred: dict[str, _Deferral] = {}

    def counts(self) -> SpoolCounts:
        """Return the numbers of reports that are pending, deferred and rejected."""
        return SpoolCounts(
            pending=len(self._spool.pending()),
            deferred=len(self._deferred),
            rejected=len(self._spool.rejected()),
        )

    def deliver_all(self, client: MasterClient) -> bool:
        """Deliver all pending reports.

        A report is retried until the master answers it or the agent is stopped. A report that the
        master repeatedly answers with server errors is deferred, so that it does not block others.
        After the agent is stopped, each report is tried at most once more.

        Returns:
            Whether every report was delivered, rejected or deferred.
        """
        for entry in self._due():
            try:
                self._entries.run(entry.name, partial(self._deliver, client, entry))
            except RetryError:
                return False
        return True

    def _due(self) -> list[Path]:
        now_s = time.monotonic()
        entries = self._spool.pending()
        fresh = [entry for entry in entries if entry.name not in self._deferred]
        return fresh + [
            entry
            for entry in entries
            if entry.name in self._deferred and self._deferred[entry.name].due_s <= now_s
        ]

    def _deliver(self, client: MasterClient, entry: Path) -> None:
        """Deliver the report of an entry. Raises RetryError if the agent is stopped."""
        tries = 0
        retry = retry_until_answered(self._stopped, _is_outage)
        while True:
            tries += 1
            try:
                report = self._spool.read(entry)
                retry(_send, client, entry, report, omits_failing=tries >= _TRIES)
            except DamagedEntryError as error:
                if not self._replace(entry, str(error)):
                    return
            except MasterRefusedError as error:
                if error.problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    if tries < _TRIES and not self._stopped.wait(_PAUSE_S):
                        continue
                    self._defer(entry, error)
                    return
                if report.is_master_older and error.problem.status in _NOT_DECODED:
                    _log.error("the master is older than this agent: upgrade the masters first")
                    self._defer(entry, error)
                    return
                if not self._resolve_refusal(entry, error):
                    return
            else:
                self._deferred.pop(entry.name, None)
                self._spool.remove(entry)
                return

    def _resolve_refusal(self, entry: Path, error: MasterRefusedError) -> bool:
        """Handle a permanent refusal; return whether there is now a failure to deliver."""
        status = error.problem.status
        if status in _OVER:
            self._reject(entry, f"the attempt is over on the master ({status}): {error}")
            return False
        return self._replace(entry, f"the master rejected the report with status {status}: {error}")

    def _replace(self, entry: Path, reason: str) -> bool:
        if self._spool.replace_report(entry, reason) is None:
            self._reject(entry, reason)
            return False
        _log.error("a failure is reported instead: %s", reason, extra={"entry": entry.name})
        return True

    def _reject(self, entry: Path, reason: str) -> None:
        self._deferred.pop(entry.name, None)
        self._spool.reject(entry, reason)

    def _defer(self, entry: Path, error: MasterRefusedError) -> None:
        """Move an entry behind the others until a later time."""
        before = self._deferred.pop(entry.name, _Deferral(0, 0.0))
        if len(self._deferred) >= _MAX_DEFERRED:
            oldest = min(self._deferred)
            reason = f"more than {_MAX_DEFERRED} reports could not be delivered"
            self._reject(entry.with_name(oldest), reason)
        pause_s = min(_FIRST_DEFERRAL_S * 2**before.count, _LONGEST_DEFERRAL_S)
        self._deferred[entry.name] = _Deferral(before.count + 1, time.monotonic() + pause_s)
        _log.error(
            "a report is deferred by %.0f s, because the master answered it with status %d: %s",
            pause_s,
            error.problem.status,
            error,
            extra={"entry": entry.name, "times": before.count + 1},
        )


def _is_outage(error: BaseException) -> bool:
    """Return whether an error concerns all requests, so that the next report would fail too."""
    if isinstance(error, MasterRefusedError):
        status = error.problem.status
        is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return status in _OUTAGE if is_server_error else is_temporary(error)
    return is_temporary(error)


def _send(client: MasterClient, entry: Path, report: SpooledReport, *, omits_failing: bool) -> None:
    """Upload the artifacts of a report, then send the report.

    Args:
        client: The client.
        entry: The folder with the artifacts.
        report: The report.
        omits_failing: Whether artifacts that are answered with server errors are omitted.

    Raises:
        MasterRefusedError: The master refused the report, or an artifact for a temporary reason.
        MasterUnreachableError: The master did not answer.
    """
    for artifact in report.artifacts:
        reason = _upload(client, entry, report, artifact, omits_failing=omits_failing)
        if reason:
            _log.warning(
                "the artifact %s is omitted: %s", artifact.name, reason, extra={"entry": entry.name}
            )
            report = omit_artifact(report, artifact, reason)
    ended = report.ended
    if isinstance(ended, ResultReport):
        client.report_result(report.job_id, ended)
    else:
        client.report_failure(report.job_id, ended)


def _upload(
    client: MasterClient,
    entry: Path,
    report: SpooledReport,
    artifact: Artifact,
    *,
    omits_failing: bool,
) -> str:
    """Upload an artifact; return why it has to be omitted, or "" if it was stored."""
    file = entry / artifact.name
    try:
        if describe_artifact(file) != artifact:
            return "the file in the spool is damaged"
        client.upload_artifact(
            report.job_id, report.attempt, artifact.name, file, sha256=artifact.sha256
        )
    except OSError as error:
        return f"the file in the spool cannot be read: {error.strerror or error}"
    except MasterRefusedError as error:
        status = error.problem.status
        is_permanent = not is_temporary(error) and status not in _OVER
        # There is space for the result, which is what matters, even if there is none for artifacts.
        has_no_space = status == HTTPStatus.INSUFFICIENT_STORAGE
        is_failing = omits_failing and status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if is_permanent or has_no_space or (is_failing and status not in _OUTAGE):
            return f"the master refused it with status {status}: {error}"
        raise
    return ""
