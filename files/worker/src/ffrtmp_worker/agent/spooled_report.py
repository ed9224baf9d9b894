"""Reports in the spool: their form on disk, and changes that make them deliverable."""

import hashlib
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from ffrtmp_shared.agent_models import FailureReport, ResultReport
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.measurement import OmittedArtifact
from ffrtmp_shared.value_rules import clean_text

from ffrtmp_worker.agent.report_values import UnrepresentableError, conforming_measurement

_MAX_REASON = 1024
_MAX_MESSAGE = 4096

_NAME = re.compile(r"[0-9a-f-]{36}\.(?P<job_id>[0-9a-f-]{36})\.(?P<attempt>[0-9]{1,10})")


class SpooledReport(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The outcome of an attempt at a job: either a result or a failure.

    `is_master_older` states that the job was claimed from a master of an older release than the
    agent, which may not know all fields of the report. The field is omitted if it is false, because
    an agent of an older release, after a rollback, would not know it.
    """

    job_id: UUID
    result: ResultReport | None = None
    failure: FailureReport | None = None
    is_master_older: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError unless exactly one of `result` and `failure` is set."""
        if (self.result is None) == (self.failure is None):
            raise ValueError("a report is either a result or a failure")

    @property
    def ended(self) -> ResultReport | FailureReport:
        """The result or the failure."""
        found = self.result or self.failure
        if found is None:
            raise ValueError("a report is either a result or a failure")
        return found

    @property
    def attempt(self) -> int:
        """The number of the attempt."""
        return self.ended.attempt

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The artifacts of the attempt."""
        return self.ended.artifacts


class DamagedEntryError(Exception):
    """An entry on disk is incomplete or was changed."""


class _Attempt(msgspec.Struct):
    attempt: int


class _Identity(msgspec.Struct):
    """The part of a report that states to which attempt it belongs."""

    job_id: UUID
    result: _Attempt | None = None
    failure: _Attempt | None = None


def describe_artifact(file: Path) -> Artifact:
    """Return the name, digest and size of a file as an artifact."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Artifact(name=file.name, sha256=digest, size_bytes=file.stat().st_size)


def decode_report(content: bytes, name: str) -> SpooledReport:
    """Decode a report.

    A report of an earlier release may contain a value that its type no longer accepts. Such a value
    becomes unavailable.

    Args:
        content: The report as JSON.
        name: The name of the entry, for error messages.

    Returns:
        The report.

    Raises:
        DamagedEntryError: The content is not a report.
    """
    try:
        try:
            return msgspec.json.decode(content, type=SpooledReport)
        except msgspec.ValidationError:
            document: Any = msgspec.json.decode(content)
            measured = conforming_measurement(document["result"]["measurement"])
            document["result"]["measurement"] = msgspec.to_builtins(measured)
            return msgspec.convert(document, SpooledReport)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        UnrepresentableError,
        LookupError,
        TypeError,
    ) as error:
        raise DamagedEntryError(f"{name} cannot be read: {error}") from error


def find_identity(name: str, content: bytes) -> tuple[UUID, int] | None:
    """Return the job and the attempt of a report that need not be readable.

    Args:
        name: The name of the entry. Entries of earlier releases do not name the job.
        content: The report as JSON, possibly damaged.

    Returns:
        The job and the number of the attempt, or None if neither source contains them.
    """
    found = _NAME.fullmatch(name)
    if found is not None:
        return UUID(found["job_id"]), int(found["attempt"])
    try:
        identity = msgspec.json.decode(content, type=_Identity)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    ended = identity.result or identity.failure
    return None if ended is None else (identity.job_id, ended.attempt)


def omit_artifact(report: SpooledReport, artifact: Artifact, reason: str) -> SpooledReport:
    """Return a report that names an artifact as omitted instead of listing it.

    Args:
        report: The report.
        artifact: The artifact that cannot be stored.
        reason: The reason.

    Returns:
        The changed report. A result names the artifact in its measurement, a failure in its
        message.
    """
    kept = tuple(other for other in report.artifacts if other.name != artifact.name)
    if report.result is not None:
        omitted = OmittedArtifact(
            name=artifact.name,
            size_bytes=artifact.size_bytes,
            reason=clean_text(reason, _MAX_REASON),
        )
        measurement = report.result.measurement
        measurement = msgspec.structs.replace(
            measurement, omitted_artifacts=(*measurement.omitted_artifacts, omitted)
        )
        result = msgspec.structs.replace(report.result, measurement=measurement, artifacts=kept)
        return msgspec.structs.replace(report, result=result)
    ended = report.ended
    if not isinstance(ended, FailureReport):
        raise TypeError("a report that is not a result is a failure")
    note = clean_text(f"; the artifact {artifact.name} was omitted: {reason}", _MAX_REASON)
    message = ended.failure.message[: _MAX_MESSAGE - len(note)] + note
    failure = msgspec.structs.replace(ended.failure, message=message)
    return msgspec.structs.replace(
        report, failure=msgspec.structs.replace(ended, failure=failure, artifacts=kept)
    )
