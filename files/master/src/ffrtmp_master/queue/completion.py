"""Completion of attempts: the results, failures and artifacts that agents report."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self
from uuid import UUID

from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.states import JobState

from ffrtmp_master.queue import leases, transitions
from ffrtmp_master.queue.control_results import record_control
from ffrtmp_master.queue.requests import RecordFailure, RecordResult, ReportOutcome
from ffrtmp_master.queue.retries import backoff_s, end_attempt
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import artifacts
from ffrtmp_master.store.content.base import Content
from ffrtmp_master.store.errors import TooLargeError, UnprocessableError
from ffrtmp_master.store.rows import JobRow, NewResult
from ffrtmp_master.store.unit_of_work import UnitOfWork


class AttemptQuota(NamedTuple):
    """The largest number and total size of the artifacts of an attempt."""

    max_files: int
    max_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the quota in the settings of the master."""
        return cls(settings.max_attempt_files, settings.max_attempt_bytes)

    def left_bytes(self, work: UnitOfWork, job_id: UUID, attempt: int, name: str) -> int:
        """Return the number of bytes that an artifact may have.

        Args:
            work: The transaction.
            job_id: The job of the artifact.
            attempt: The number of the attempt.
            name: The name of the artifact. A stored artifact of this name will be replaced.

        Returns:
            The number of bytes.

        Raises:
            TooLargeError: The attempt has as many artifacts as it may have.
        """
        stored = artifacts.list_for_attempt(work.connection, job_id, attempt)
        others = [artifact for artifact in stored.values() if artifact.name != name]
        if len(others) >= self.max_files:
            raise TooLargeError(
                f"the attempt has {len(others)} artifacts; at most {self.max_files} are allowed "
                "(master_max_attempt_files)"
            )
        return self.max_bytes - sum(artifact.size_bytes for artifact in others)


Uploaded = Mapping[tuple[UUID, int], Mapping[str, tuple[str, int]]]
"""The SHA-256 digest and size in bytes of each artifact, by job and attempt and then by name."""


def record_result(work: UnitOfWork, request: RecordResult, uploaded: Uploaded) -> ReportOutcome:
    """Store the result of an attempt and end its job.

    If the same result is reported again, nothing changes. If cancellation of the job was requested,
    the job becomes canceled and the result is not stored.

    Args:
        work: The transaction.
        request: The report from the agent.
        uploaded: The artifacts that were uploaded for the attempts of the batch.

    Returns:
        The new state of the job, and whether the report was a repetition.

    Raises:
        NotFoundError: The job does not exist.
        ConflictError: The attempt is over or the job is not leased to the node.
        UnprocessableError: A listed artifact was not uploaded, or differs from the stored one.
    """
    report = request.report
    job = leases.lock_job(work, request.job_id)
    if _has_succeeded(job, report.attempt, request.node):
        return ReportOutcome(JobState.SUCCEEDED, repeated=True)
    leases.check_lease(job, report.attempt, request.node)
    if not job.cancel_requested:
        _check_artifacts(job, report.artifacts, uploaded)
    if job.started_at is not None:
        work.effects.run_times_s.append((work.now - job.started_at).total_seconds())
    if job.cancel_requested:
        job.lease_expires_at = job.slot = None
        transitions.transition(work, job, JobState.CANCELED, "canceled before the result arrived")
        return ReportOutcome(JobState.CANCELED)
    work.add_result(
        NewResult(
            id=new_id(),
            job=job,
            node=request.node,
            measurement=request.measurement,
            artifacts=report.artifacts,
            stored_at=work.now,
        )
    )
    work.effects.results += 1
    record_control(work, job, request.node, request.measurement)
    job.failure = job.lease_expires_at = job.slot = None
    transitions.transition(work, job, JobState.SUCCEEDED, "result stored")
    return ReportOutcome(JobState.SUCCEEDED)


def record_failure(
    work: UnitOfWork, request: RecordFailure, uploaded: Uploaded, retry_backoff_s: float
) -> ReportOutcome:
    """Store the failure of an attempt, and either queue its job again or end it.

    Args:
        work: The transaction.
        request: The report from the agent.
        uploaded: The artifacts that were uploaded for the attempts of the batch.
        retry_backoff_s: The delay before the second attempt in seconds; it doubles with each
            further attempt.

    Returns:
        The new state of the job.

    Raises:
        NotFoundError: The job does not exist.
        ConflictError: The attempt is over or the job is not leased to the node.
        UnprocessableError: A listed artifact was not uploaded, or differs from the stored one.
    """
    report = request.report
    job = leases.lock_job(work, request.job_id)
    leases.check_lease(job, report.attempt, request.node)
    _check_artifacts(job, report.artifacts, uploaded)
    return ReportOutcome(
        end_attempt(work, job, report.failure, backoff_s(job.attempt, retry_backoff_s))
    )


def check_upload(work: UnitOfWork, job_id: UUID, attempt: int, node: str) -> None:
    """Check that a node may upload an artifact, before it sends the file.

    Args:
        work: The transaction.
        job_id: The job of the artifact.
        attempt: The number of the attempt.
        node: The name of the node.

    Raises:
        NotFoundError: The job does not exist.
        ConflictError: The attempt is over or the job is not leased to the node.
    """
    job = leases.lock_job(work, job_id)
    if not _has_succeeded(job, attempt, node):
        leases.check_lease(job, attempt, node)


def record_artifact(
    work: UnitOfWork,
    job_id: UUID,
    attempt: int,
    *,
    node: str,
    name: str,
    content: Content,
    quota: AttemptQuota,
) -> None:
    """Record that a stored file is an artifact of a running attempt.

    If the same file is uploaded again, nothing changes. This succeeds even after the result was
    stored.

    Args:
        work: The transaction.
        job_id: The job of the artifact.
        attempt: The number of the attempt.
        node: The name of the node that uploaded the file.
        name: The name of the artifact.
        content: The digest and size of the stored file.
        quota: The limits of the artifacts of an attempt.

    Raises:
        NotFoundError: The job does not exist.
        ConflictError: The attempt is over or the job is not leased to the node.
        TooLargeError: The attempt would exceed its limits.
    """
    job = leases.lock_job(work, job_id)
    if _has_succeeded(job, attempt, node):
        present = artifacts.list_for_attempt(work.connection, job_id, attempt).get(name)
        if present is not None and present.sha256 == content.sha256:
            return
    leases.check_lease(job, attempt, node)
    if content.size_bytes > quota.left_bytes(work, job_id, attempt, name):
        raise TooLargeError(
            f"the artifacts of the attempt would have more than {quota.max_bytes} bytes "
            "(master_max_attempt_bytes)"
        )
    artifacts.attach(work.connection, job_id, attempt, name=name, content=content, now=work.now)


def _has_succeeded(job: JobRow, attempt: int, node: str) -> bool:
    return job.state is JobState.SUCCEEDED and job.attempt == attempt and job.leased_to == node


def _check_artifacts(job: JobRow, listed: Sequence[Artifact], uploaded: Uploaded) -> None:
    present = uploaded.get((job.id, job.attempt), {})
    errors = []
    for artifact in listed:
        stored = present.get(artifact.name)
        if stored is None:
            errors.append(f"artifact {artifact.name} was not uploaded for attempt {job.attempt}")
        elif stored != (artifact.sha256, artifact.size_bytes):
            errors.append(
                f"artifact {artifact.name} is listed with SHA-256 {artifact.sha256} and "
                f"{artifact.size_bytes} bytes, but stored with {stored[0]} and {stored[1]} bytes"
            )
    if errors:
        raise UnprocessableError(
            "the listed artifacts do not match the uploaded ones; upload them first", errors
        )
