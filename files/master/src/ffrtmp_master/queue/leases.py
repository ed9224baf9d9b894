"""Leases: who holds a job, renewing, and running out."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.models import Failure
from ffrtmp_shared.states import JobState
from sqlalchemy import ColumnElement, Connection, literal_column, update

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.failures import backoff_s, end_attempt
from ffrtmp_master.queue.requests import RenewLease
from ffrtmp_master.store import statements
from ffrtmp_master.store.errors import ConflictError, NotFoundError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.store.unit_of_work import UnitOfWork


def is_held() -> ColumnElement[bool]:
    """Return the condition of a job being worked on, in the words of its partial index."""
    return jobs.c.state.in_(
        [literal_column(f"'{state}'") for state in (JobState.LEASED, JobState.RUNNING)]
    )


def lock_job(work: UnitOfWork, job_id: UUID) -> JobRow:
    """Return a job, locked; raises NotFoundError."""
    job = work.job(job_id)
    if job is None:
        raise NotFoundError(f"there is no job {job_id}")
    return job


def check_lease(job: JobRow, attempt: int, node: str) -> None:
    """Raise ConflictError unless this attempt of this node holds the job."""
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
    """Renew a lease; the first heartbeat makes the job running. Return whether to cancel.

    Raises NotFoundError, or ConflictError when the attempt is over.
    """
    job = lock_job(work, request.job_id)
    check_lease(job, request.heartbeat.attempt, request.node)
    job.lease_expires_at = work.now + timedelta(seconds=lease_s)
    job.progress = msgspec.json.encode(request.heartbeat.progress).decode()
    work.mark_changed(job)
    if job.state is JobState.LEASED:
        transitions.transition(work, job, JobState.RUNNING, "first heartbeat")
    return job.cancel_requested


def has_overdue(connection: Connection, now: datetime) -> bool:
    """Return whether an attempt is to be ended; cheap enough to ask every second."""
    return statements.statements_for(connection).any_overdue(now)


def expire_overdue(work: UnitOfWork, retry_backoff_s: float) -> int:
    """End every attempt whose lease ran out or that took longer than its job may; count them."""
    overdue = work.merge(work.statements.overdue(work.now))
    for job in overdue:
        has_lease = job.lease_expires_at is not None and job.lease_expires_at >= work.now
        if has_lease:
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
    return len(overdue)


def extend_all(work: UnitOfWork, lease_s: float) -> None:
    """Give every lease a full term from now.

    For a master that starts, or whose database was away: no agent could renew meanwhile, and an
    encode of an hour should not be lost to an outage of seconds.
    """
    work.connection.execute(
        update(jobs).where(is_held()).values(lease_expires_at=work.now + timedelta(seconds=lease_s))
    )
