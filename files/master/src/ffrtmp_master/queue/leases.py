"""Leases: what proves that an agent still holds one, renewing, and running out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.models import Failure, Heartbeat
from ffrtmp_shared.states import JobState
from sqlalchemy import ColumnElement, Connection, literal_column, select, update

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.failures import Ended, backoff_s, end_attempt
from ffrtmp_master.store import jobs as stored_jobs
from ffrtmp_master.store import nodes
from ffrtmp_master.store.jobs import JobRow
from ffrtmp_master.store.refusals import ConflictError
from ffrtmp_master.store.schema import jobs


def is_held() -> ColumnElement[bool]:
    """Return the condition of a job being worked on, in the words of its partial index."""
    return jobs.c.state.in_(
        [literal_column(f"'{state}'") for state in (JobState.LEASED, JobState.RUNNING)]
    )


def held(connection: Connection, job_id: UUID, attempt: int, node: str) -> JobRow:
    """Return the job if this attempt of this node holds it.

    Raises NotFoundError, or ConflictError when the attempt is over.
    """
    job = stored_jobs.row_of(connection, job_id)
    check_held(job, attempt, node)
    return job


def check_held(job: JobRow, attempt: int, node: str) -> None:
    """Raise ConflictError unless this attempt of this node holds the job."""
    state = JobState(job.state)
    if job.attempt != attempt:
        raise ConflictError(
            f"attempt {attempt} of job {job.id} is over: the job is {state} "
            f"and its current attempt is {job.attempt}"
        )
    if not state.holds_lease:
        raise ConflictError(f"attempt {attempt} of job {job.id} is over: the job is {state}")
    if job.leased_to != node:
        raise ConflictError(f"job {job.id} is not leased to node {node}")


def renew(
    connection: Connection,
    job_id: UUID,
    node: str,
    heartbeat: Heartbeat,
    *,
    now: datetime,
    lease_s: float,
) -> bool:
    """Renew a lease; the first heartbeat makes the job running. Return whether to cancel."""
    nodes.seen(connection, node, now)
    job = held(connection, job_id, heartbeat.attempt, node)
    expires_at = now + timedelta(seconds=lease_s)
    if job.state == JobState.LEASED:
        transitions.move(
            connection,
            [transitions.at(job)],
            JobState.RUNNING,
            "first heartbeat",
            now,
            lease_expires_at=expires_at,
            progress=heartbeat.progress,
        )
    else:
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id)
            .values(lease_expires_at=expires_at, progress=heartbeat.progress)
        )
    return bool(job.cancel_requested)


def any_expired(connection: Connection, now: datetime) -> bool:
    """Return whether a lease has run out; cheap enough to ask every second."""
    query = select(jobs.c.id).where(is_held(), jobs.c.lease_expires_at < now).limit(1)
    return connection.execute(query).first() is not None


def expire(connection: Connection, now: datetime, retry_backoff_s: float) -> Sequence[Ended]:
    """End every attempt whose lease ran out."""
    expired = connection.execute(select(jobs).where(is_held(), jobs.c.lease_expires_at < now)).all()
    return [
        end_attempt(
            connection,
            job,
            Failure(
                failure_class=FailureClass.LEASE_EXPIRED,
                message=f"node {job.leased_to} did not renew its lease in time",
            ),
            now,
            backoff_s(job.attempt, retry_backoff_s),
        )
        for job in expired
    ]


def spare(connection: Connection, now: datetime, lease_s: float) -> None:
    """Give every lease a full term from now.

    For the start of the master: no agent could renew while it was away, and an encode of an hour
    should not be lost to a restart of seconds.
    """
    connection.execute(
        update(jobs).where(is_held()).values(lease_expires_at=now + timedelta(seconds=lease_s))
    )
