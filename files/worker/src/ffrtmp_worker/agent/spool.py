"""Spool of reports, which are stored on disk first and then delivered to the master in order.

    incoming/<id>/   being written; if the agent dies meanwhile, its next start removes the entry
    pending/<id>/    complete and on disk; the ids are UUIDv7, so they sort by time of creation
    rejected/<id>/   damaged, or permanently refused by the master; only the newest are retained

Each entry contains report.json and the attempt's artifacts.
"""

import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec
from ffrtmp_shared.client import MasterClient, MasterRefusedError
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Artifact, FailureReport, ResultReport
from tenacity import RetryError

from ffrtmp_worker.agent.retry import retry_until_answered

_log = logging.getLogger(__name__)

_REPORT_NAME = "report.json"
_MAX_REJECTED = 100


class SpooledReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The outcome of an attempt at a job: either a result or a failure."""

    job_id: UUID
    result: ResultReport | None = None
    failure: FailureReport | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless exactly one of `result` and `failure` is set."""
        if (self.result is None) == (self.failure is None):
            raise ValueError("a report is either a result or a failure")


class DamagedEntryError(Exception):
    """An entry on disk is incomplete or was changed."""


def describe_artifact(file: Path) -> Artifact:
    """Return the name, digest and size of a file as an artifact."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Artifact(name=file.name, sha256=digest, size_bytes=file.stat().st_size)


class Spool:
    """The reports of one slot, in a folder that no other process may use."""

    def __init__(self, folder: Path) -> None:
        """Open the spool in `folder` and remove incomplete entries left by an agent that died."""
        self._incoming = folder / "incoming"
        self._pending = folder / "pending"
        self._rejected = folder / "rejected"
        shutil.rmtree(self._incoming, ignore_errors=True)
        for part in (self._incoming, self._pending, self._rejected):
            part.mkdir(parents=True, exist_ok=True)

    def add(self, report: SpooledReport, artifacts: Sequence[Path]) -> None:
        """Store a report and copies of its artifacts; return once they are on disk.

        Raises OSError if the files cannot be written.
        """
        name = str(new_id())
        entry = self._incoming / name
        entry.mkdir()
        for artifact in artifacts:
            _write(entry / artifact.name, artifact.read_bytes())
        _write(entry / _REPORT_NAME, msgspec.json.encode(report))
        _sync_folder(entry)
        entry.rename(self._pending / name)
        _sync_folder(self._pending)

    def pending(self) -> list[Path]:
        """Return the entries whose delivery is not confirmed yet, oldest first."""
        return sorted(self._pending.iterdir())

    def rejected(self) -> list[Path]:
        """Return the entries that will not be delivered, oldest first."""
        return sorted(self._rejected.iterdir())

    def deliver(self, client: MasterClient, stopped: threading.Event) -> bool:
        """Deliver all pending entries, retrying each until the master answers or `stopped` is set.

        After `stopped` is set, each entry is tried at most once more. Return whether no entry is
        pending anymore.
        """
        for entry in self.pending():
            try:
                retry_until_answered(stopped)(_deliver_entry, client, entry)
            except RetryError:
                return False
            except (MasterRefusedError, DamagedEntryError) as error:
                self._reject(entry, str(error))
            else:
                shutil.rmtree(entry)
        return True

    def _reject(self, entry: Path, reason: str) -> None:
        _log.error("a report was rejected: %s", reason, extra={"entry": entry.name})
        entry.rename(self._rejected / entry.name)
        for old in self.rejected()[:-_MAX_REJECTED]:
            shutil.rmtree(old)


def _deliver_entry(client: MasterClient, entry: Path) -> None:
    report = _read(entry)
    ended = report.result or report.failure
    if ended is None:
        raise DamagedEntryError(f"{entry.name} contains neither a result nor a failure")
    for artifact in ended.artifacts:
        client.upload_artifact(
            report.job_id,
            ended.attempt,
            artifact.name,
            entry / artifact.name,
            sha256=artifact.sha256,
        )
    if isinstance(ended, ResultReport):
        client.report_result(report.job_id, ended)
    else:
        client.report_failure(report.job_id, ended)


def _read(entry: Path) -> SpooledReport:
    try:
        report = msgspec.json.decode((entry / _REPORT_NAME).read_bytes(), type=SpooledReport)
        ended = report.result or report.failure
        damaged = (
            [a.name for a in ended.artifacts if describe_artifact(entry / a.name) != a]
            if ended
            else []
        )
    except (OSError, msgspec.DecodeError) as error:
        raise DamagedEntryError(f"{entry.name} cannot be read: {error}") from error
    if damaged:
        raise DamagedEntryError(f"{entry.name} has damaged artifacts: {', '.join(damaged)}")
    return report


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
