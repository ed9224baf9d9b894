"""Spool of reports, which are stored on disk first and then delivered to the master in order.

    incoming/<entry>/   being written; if the agent dies meanwhile, its next start removes the entry
    pending/<entry>/    complete and on disk
    rejected/<entry>/   not deliverable; only the newest are retained

The name of an entry consists of a UUIDv7, so that entries sort by time of creation, the job, and
the attempt. Each entry contains report.json and the attempt's artifacts. If the report itself
cannot be delivered, replacement.json contains the failure that is delivered instead, and reason.txt
of a rejected entry states why.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
from ffrtmp_shared.agent_models import FailureReport
from ffrtmp_shared.attempt_models import Artifact, Failure
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.value_rules import clean_text

from ffrtmp_worker.agent.spooled_report import (
    DamagedEntryError,
    SpooledReport,
    decode_report,
    find_identity,
    omit_artifact,
)

_log = logging.getLogger(__name__)

REPORT_NAME = "report.json"
REPLACEMENT_NAME = "replacement.json"
_REASON_NAME = "reason.txt"
_MAX_REJECTED = 100
_MAX_REJECTED_BYTES = 256 * 1024 * 1024
_MAX_REASON = 2048
_PIECE_BYTES = 1024 * 1024


class Spool:
    """The reports of one slot, in a folder that no other process may use."""

    def __init__(self, folder: Path, max_rejected_bytes: int = _MAX_REJECTED_BYTES) -> None:
        """Open the spool and remove incomplete entries left by an agent that died.

        Args:
            folder: The folder of the spool.
            max_rejected_bytes: The maximum total size of the rejected entries.
        """
        self._max_rejected_bytes = max_rejected_bytes
        self._incoming = folder / "incoming"
        self._pending = folder / "pending"
        self._rejected = folder / "rejected"
        shutil.rmtree(self._incoming, ignore_errors=True)
        for part in (self._incoming, self._pending, self._rejected):
            part.mkdir(parents=True, exist_ok=True)

    def add(
        self, report: SpooledReport, artifacts: Sequence[Path], max_bytes: int | None = None
    ) -> None:
        """Store a report and copies of its artifacts; return once they are on disk.

        An artifact that is too large or cannot be copied is omitted and named in the report.

        Args:
            report: The report.
            artifacts: The files of the artifacts that the report lists.
            max_bytes: The largest artifact that the master accepts; None if this is not known.

        Raises:
            OSError: The report cannot be written.
        """
        name = f"{new_id()}.{report.job_id}.{report.attempt}"
        entry = self._incoming / name
        entry.mkdir()
        listed = {artifact.name: artifact for artifact in report.artifacts}
        for file in artifacts:
            artifact = listed[file.name]
            reason = _copy_artifact(file, entry / file.name, artifact, max_bytes)
            if reason:
                report = omit_artifact(report, artifact, reason)
        _write(entry / REPORT_NAME, msgspec.json.encode(report))
        _sync_folder(entry)
        entry.rename(self._pending / name)
        _sync_folder(self._pending)

    def pending(self) -> list[Path]:
        """Return the entries whose delivery is not confirmed yet, oldest first."""
        return sorted(self._pending.iterdir())

    def rejected(self) -> list[Path]:
        """Return the entries that will not be delivered, oldest first."""
        return sorted(self._rejected.iterdir())

    def read(self, entry: Path) -> SpooledReport:
        """Return the report to deliver for an entry. Raises DamagedEntryError."""
        for name in (REPLACEMENT_NAME, REPORT_NAME):
            try:
                content = (entry / name).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise DamagedEntryError(f"{entry.name} cannot be read: {error}") from error
            return decode_report(content, entry.name)
        raise DamagedEntryError(f"{entry.name} has no {REPORT_NAME}")

    def replace_report(self, entry: Path, reason: str) -> SpooledReport | None:
        """Replace the report of an entry by a failure that states why it cannot be delivered.

        Args:
            entry: The entry. Its report and artifacts are kept.
            reason: The reason.

        Returns:
            The failure to deliver, or None if the job of the entry is not known, the entry already
            contains such a failure, or the failure cannot be written.
        """
        identity = find_identity(entry.name, _read_or_empty(entry / REPORT_NAME))
        if identity is None or (entry / REPLACEMENT_NAME).exists():
            return None
        job_id, attempt = identity
        kept = self._rejected / entry.name
        message = f"{reason[:_MAX_REASON]}; the report is kept on the node in {kept}"
        failure = Failure(
            failure_class=FailureClass.REPORT_REJECTED, message=clean_text(message, 4096)
        )
        report = SpooledReport(
            job_id=job_id, failure=FailureReport(attempt=attempt, failure=failure)
        )
        part = entry / f".{REPLACEMENT_NAME}"
        try:
            _write(part, msgspec.json.encode(report))
            part.rename(entry / REPLACEMENT_NAME)
            _sync_folder(entry)
        except OSError as error:
            _log.error("the failure of a report cannot be stored: %s", error)
            return None
        return report

    def remove(self, entry: Path) -> None:
        """Remove a delivered entry. If its report was replaced, the entry is kept as rejected."""
        if (entry / REPLACEMENT_NAME).exists():
            self.reject(entry, "the master received a failure instead of the report")
        else:
            shutil.rmtree(entry)

    def reject(self, entry: Path, reason: str) -> None:
        """Move an entry to the rejected entries, of which only the newest are retained."""
        _log.error("a report was not delivered: %s", reason, extra={"entry": entry.name})
        try:
            (entry / _REASON_NAME).write_text(clean_text(f"{reason}\n"), encoding="utf-8")
        except OSError as error:
            _log.warning("the reason cannot be stored with the report: %s", error)
        entry.rename(self._rejected / entry.name)
        self._limit_rejected()

    def _limit_rejected(self) -> None:
        kept_bytes = 0
        for age, entry in enumerate(reversed(self.rejected())):
            size_bytes = sum(file.stat().st_size for file in entry.iterdir())
            if age == 0 and size_bytes > self._max_rejected_bytes:
                # The report itself is small. The artifacts alone exceed the limit.
                size_bytes -= _remove_artifacts(entry)
            kept_bytes += size_bytes
            if age >= _MAX_REJECTED or kept_bytes > self._max_rejected_bytes:
                shutil.rmtree(entry)


def _remove_artifacts(entry: Path) -> int:
    """Remove the artifacts of an entry and return their size in bytes."""
    removed_bytes = 0
    for file in entry.iterdir():
        if file.name not in (REPORT_NAME, REPLACEMENT_NAME, _REASON_NAME):
            removed_bytes += file.stat().st_size
            file.unlink()
    return removed_bytes


def _copy_artifact(source: Path, target: Path, artifact: Artifact, max_bytes: int | None) -> str:
    """Copy a file and make the copy durable. Return why this was not possible, or ""."""
    if max_bytes is not None and artifact.size_bytes > max_bytes:
        return (
            f"it has {artifact.size_bytes} bytes; the master accepts {max_bytes} "
            "(master_max_artifact_bytes)"
        )
    try:
        with source.open("rb") as read, target.open("wb") as written:
            shutil.copyfileobj(read, written, _PIECE_BYTES)
            written.flush()
            os.fsync(written.fileno())
    except OSError as error:
        target.unlink(missing_ok=True)
        return f"it cannot be copied to the spool: {error.strerror or error}"
    return ""


def _read_or_empty(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


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
