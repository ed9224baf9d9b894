"""Leases of jobs: checking, renewing and expiring them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from ffrtmp_shared.attempt_models import Failure
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.states import JobState
from sqlalchemy import ColumnElement, Connection, literal_column

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.requests import RenewLease
from ffrtmp_master.queue.retries import backoff_s, end_attempt
from ffrtmp_master.store import statements
from ffrtmp_master.store.errors import ConflictError, NotFoundError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.store.unit_of_work import UnitOfWork


def is_held() -> ColumnElement[bool]:
    """Return the SQL condition that a job is leased or running.

    The condition is written like that of the partial index `ix_jobs_held`, because otherwise the
    database could not use the index.
    """
    return jobs.c.state.in_(
        [literal_column(f"'{state}'") for state in (JobState.LEASED, JobState.RUNNING)]
    )


def lock_job(work: UnitOfWork, job_id: UUID) -> JobRow:
    """Lock a job and return it. Raises NotFoundError."""
    job = work.job(job_id)
    if job is None:
        raise NotFoundError(f"there is no job {job_id}")
    return job


def check_lease(job: JobRow, attempt: int, node: str) -> None:
    """Check that an attempt holds the lease of a job.

    Args:
        job: The locked job.
        attempt: The number of the attempt.
        node: The node that runs the attempt.

    Raises:
        ConflictError: The attempt is over or the job is not leased to the node.
    """
    if job.attempt != attempt:
        raise ConflictError(
            f"attempt {attempt} of job {job.id} is over: the job is {job.state} "
            f"and its current attempt is {job.attempt}"
        )
    if not job.state.holds_lease:
        raise ConflictError(f"attempt {attempt} of job {job.id} is over: the job is {job.state}")
    if job.leased_to != node:
        raise ConflictError(f"job {job.id} is not leased to node {node}")


def renew_lease(work: UnitOfWork, request: RenewLease, lease_s: float) -> bool:
    """Renew the lease of a job. The first heartbeat of an attempt also makes the job running.

    Args:
        work: The transaction.
        request: The heartbeat from the agent.
        lease_s: The duration of the lease in seconds, counted from now.

    Returns:
        Whether the agent should cancel the attempt.

    Raises:
        NotFoundError: The job does not exist.
        ConflictError: The attempt is over or the job is not leased to the node.
    """
    job = lock_job(work, request.job_id)
    check_lease(job, request.heartbeat.attempt, request.node)
    job.lease_expires_at = work.now + timedelta(seconds=lease_s)
    job.progress = msgspec.json.encode(request.heartbeat.progress).decode()
    work.mark_changed(job)
    if job.state is JobState.LEASED:
        transitions.transition(work, job, JobState.RUNNING, "first heartbeat")
    return job.cancel_requested


def overdue_jobs(connection: Connection, now: datetime) -> list[UUID]:
    """Return the ids of the jobs whose lease has expired or whose deadline has passed.

    The query is cheap enough to run every second.
    """
    return statements.statements_for(connection).overdue_ids(now)


def expire_overdue(work: UnitOfWork, job_ids: Iterable[UUID], retry_backoff_s: float) -> int:
    """End the attempts of those of the jobs that are still overdue. Return their number.

    Args:
        work: The transaction.
        job_ids: The ids of the jobs, as found by `overdue_jobs`.
        retry_backoff_s: The delay before the second attempt in seconds.
    """
    overdue = [job for job in work.jobs(job_ids).values() if _is_overdue(job, work.now)]
    for job in overdue:
        _expire(work, job, retry_backoff_s)
    return len(overdue)


def _is_overdue(job: JobRow, now: datetime) -> bool:
    if not job.state.holds_lease:
        return False
    is_late = (
        job.deadline_s is not None
        and job.started_at is not None
        and job.started_at + timedelta(seconds=job.deadline_s) < now
    )
    return is_late or not _has_lease(job, now)


def _has_lease(job: JobRow, now: datetime) -> bool:
    return job.lease_expires_at is not None and job.lease_expires_at >= now


def _expire(work: UnitOfWork, job: JobRow, retry_backoff_s: float) -> None:
    if _has_lease(job, work.now):
        failure = Failure(
            failure_class=FailureClass.DEADLINE_EXCEEDED,
            message=f"the attempt took longer than {job.deadline_s:g} s",
        )
    else:
        failure = Failure(
            failure_class=FailureClass.LEASE_EXPIRED,
            message=f"node {job.leased_to} did not renew its lease in time",
        )
    end_attempt(work, job, failure, backoff_s(job.attempt, retry_backoff_s))
