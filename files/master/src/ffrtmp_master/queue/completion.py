"""What an agent hands in at the end of an attempt."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Artifact
from ffrtmp_shared.states import JobState

from ffrtmp_master.queue import leases, transitions
from ffrtmp_master.queue.failures import backoff_s, end_attempt
from ffrtmp_master.queue.requests import RecordFailure, RecordResult, ReportOutcome
from ffrtmp_master.store import artifacts
from ffrtmp_master.store.content.base import Content
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.rows import JobRow, NewResult
from ffrtmp_master.store.unit_of_work import UnitOfWork

Uploaded = Mapping[tuple[UUID, int], Mapping[str, tuple[str, int]]]
"""Digest and size in bytes of each artifact by name, for each job and attempt."""


def record_result(work: UnitOfWork, request: RecordResult, uploaded: Uploaded) -> ReportOutcome:
    """Store a result and end its job.

    The same attempt a second time changes nothing. Raises NotFoundError, ConflictError when the
    attempt is over, UnacceptableError when an artifact that it lists was not uploaded. The result
    of a job that somebody canceled is not stored.
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
        transitions.transition(work, job, JobState.CANCELED, "canceled before the result came")
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
    job.failure = job.lease_expires_at = job.slot = None
    transitions.transition(work, job, JobState.SUCCEEDED, "result stored")
    return ReportOutcome(JobState.SUCCEEDED)


def record_failure(
    work: UnitOfWork, request: RecordFailure, uploaded: Uploaded, retry_backoff_s: float
) -> ReportOutcome:
    """Store why an attempt failed; raises what `take_result` raises."""
    report = request.report
    job = leases.lock_job(work, request.job_id)
    leases.check_lease(job, report.attempt, request.node)
    _check_artifacts(job, report.artifacts, uploaded)
    return ReportOutcome(
        end_attempt(work, job, report.failure, backoff_s(job.attempt, retry_backoff_s))
    )


def check_upload(work: UnitOfWork, job_id: UUID, attempt: int, node: str) -> None:
    """Raise what `take_artifact` would raise, before the file is sent."""
    job = leases.lock_job(work, job_id)
    if not _has_succeeded(job, attempt, node):
        leases.check_lease(job, attempt, node)


def record_artifact(
    work: UnitOfWork, job_id: UUID, attempt: int, *, node: str, name: str, content: Content
) -> None:
    """Note that a file belongs to an attempt that still runs.

    The same file a second time changes nothing, even once the result is stored. Raises
    NotFoundError, or ConflictError when the attempt is over.
    """
    job = leases.lock_job(work, job_id)
    if _has_succeeded(job, attempt, node):
        present = artifacts.list_for_attempt(work.connection, job_id, attempt).get(name)
        if present is not None and present.sha256 == content.sha256:
            return
    leases.check_lease(job, attempt, node)
    artifacts.attach(work.connection, job_id, attempt, name=name, content=content, now=work.now)


def _has_succeeded(job: JobRow, attempt: int, node: str) -> bool:
    return job.state is JobState.SUCCEEDED and job.attempt == attempt and job.leased_to == node


def _check_artifacts(job: JobRow, listed: Sequence[Artifact], uploaded: Uploaded) -> None:
    present = uploaded.get((job.id, job.attempt), {})
    errors = []
    for artifact in listed:
        found = present.get(artifact.name)
        if found is None:
            errors.append(f"artifact {artifact.name} was not uploaded for attempt {job.attempt}")
        elif found != (artifact.sha256, artifact.size_bytes):
            errors.append(
                f"artifact {artifact.name} is listed with SHA-256 {artifact.sha256} and "
                f"{artifact.size_bytes} bytes, but stored with {found[0]} and {found[1]} bytes"
            )
    if errors:
        raise UnprocessableError("the artifacts are not those that are stored", errors)
