"""What an agent hands in at the end of an attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ffrtmp_shared.models import Artifact, FailureReport, ResultReport, Stored
from ffrtmp_shared.states import JobState
from sqlalchemy import Connection

from ffrtmp_master.queue import leases, transitions
from ffrtmp_master.queue.failures import NO_LEASE, Ended, backoff_s, end_attempt
from ffrtmp_master.store import artifacts, nodes, results
from ffrtmp_master.store import jobs as stored_jobs
from ffrtmp_master.store.files import Content
from ffrtmp_master.store.jobs import JobRow
from ffrtmp_master.store.refusals import UnacceptableError


def take_result(
    connection: Connection, job_id: UUID, node: str, report: ResultReport, now: datetime
) -> Stored:
    """Store a result and end its job.

    The same attempt a second time changes nothing. Raises NotFoundError, ConflictError when the
    attempt is over, UnacceptableError when an artifact that it lists was not uploaded. The result
    of a job that somebody canceled is not stored.
    """
    nodes.seen(connection, node, now)
    job = stored_jobs.row_of(connection, job_id)
    if _has_succeeded(job, report.attempt, node):
        return Stored(job_id=job_id, state=JobState.SUCCEEDED, repeated=True)
    leases.check_held(job, report.attempt, node)
    moved = [transitions.at(job)]
    if job.cancel_requested:
        transitions.move(
            connection, moved, JobState.CANCELED, "canceled before the result came", now, **NO_LEASE
        )
        return Stored(job_id=job_id, state=JobState.CANCELED, repeated=False)
    _check_artifacts(connection, job, report.artifacts)
    results.keep(connection, job, report.measurement, report.artifacts, now)
    transitions.move(
        connection, moved, JobState.SUCCEEDED, "result stored", now, failure=None, **NO_LEASE
    )
    return Stored(job_id=job_id, state=JobState.SUCCEEDED, repeated=False)


@dataclass(frozen=True)
class Failed:
    """What the agent hears, and what became of the job."""

    stored: Stored
    ended: Ended


def take_failure(
    connection: Connection,
    job_id: UUID,
    node: str,
    report: FailureReport,
    *,
    now: datetime,
    retry_backoff_s: float,
) -> Failed:
    """Store why an attempt failed; raises what `take_result` raises."""
    nodes.seen(connection, node, now)
    job = leases.held(connection, job_id, report.attempt, node)
    _check_artifacts(connection, job, report.artifacts)
    ended = end_attempt(
        connection, job, report.failure, now, backoff_s(job.attempt, retry_backoff_s)
    )
    return Failed(Stored(job_id=job_id, state=ended.state, repeated=False), ended)


def check_upload(connection: Connection, job_id: UUID, attempt: int, node: str) -> None:
    """Raise what `take_artifact` would raise, before the file is sent."""
    job = stored_jobs.row_of(connection, job_id)
    if not _has_succeeded(job, attempt, node):
        leases.check_held(job, attempt, node)


def take_artifact(
    connection: Connection,
    job_id: UUID,
    attempt: int,
    *,
    node: str,
    name: str,
    content: Content,
    now: datetime,
) -> None:
    """Note that a file belongs to an attempt that still runs.

    The same file a second time changes nothing, even once the result is stored. Raises
    NotFoundError, or ConflictError when the attempt is over.
    """
    nodes.seen(connection, node, now)
    job = stored_jobs.row_of(connection, job_id)
    if _has_succeeded(job, attempt, node):
        present = artifacts.of_attempt(connection, job_id, attempt).get(name)
        if present is not None and present.sha256 == content.sha256:
            return
    leases.check_held(job, attempt, node)
    artifacts.attach(connection, job_id, attempt, name=name, content=content, now=now)


def _has_succeeded(job: JobRow, attempt: int, node: str) -> bool:
    return bool(
        job.state == JobState.SUCCEEDED and job.attempt == attempt and job.leased_to == node
    )


def _check_artifacts(connection: Connection, job: JobRow, listed: Sequence[Artifact]) -> None:
    present = artifacts.of_attempt(connection, job.id, job.attempt)
    errors = []
    for artifact in listed:
        found = present.get(artifact.name)
        if found is None:
            errors.append(f"artifact {artifact.name} was not uploaded for attempt {job.attempt}")
        elif found != artifact:
            errors.append(
                f"artifact {artifact.name} is listed with SHA-256 {artifact.sha256} and "
                f"{artifact.size_bytes} bytes, but stored with {found.sha256} and "
                f"{found.size_bytes} bytes"
            )
    if errors:
        raise UnacceptableError("the artifacts are not those that are stored", errors)
