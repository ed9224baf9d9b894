"""Actions of operators: canceling and retrying jobs, changing priorities, and removing nodes."""

from collections.abc import Iterable
from uuid import UUID

from ffrtmp_shared.models import Run
from ffrtmp_shared.requirements import Priority
from ffrtmp_shared.states import JobState
from sqlalchemy import ColumnElement, Connection, select, update

from ffrtmp_master.queue import leases, transitions
from ffrtmp_master.queue.claim_order import queue_rank
from ffrtmp_master.queue.leases import is_held
from ffrtmp_master.store import nodes, runs
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.errors import ConflictError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.store.schema import runs as runs_table
from ffrtmp_master.store.unit_of_work import UnitOfWork

_RETRYABLE_STATES = (JobState.FAILED, JobState.CANCELED)
_ROWS_AT_ONCE = 1000


def retry_job(work: UnitOfWork, job_id: UUID, by: str, step_s: float) -> UUID:
    """Queue a new job that retries a failed or canceled one.

    Final states never change, so the old job keeps its state and history. It refers to the new job.

    Args:
        work: The transaction.
        job_id: The job to retry.
        by: The name of the operator.
        step_s: The waiting time in seconds that is equivalent to one priority step.

    Returns:
        The id of the new job.

    Raises:
        NotFoundError: The job does not exist.
        ConflictError: The job is neither failed nor canceled, or was already retried.
    """
    job = leases.lock_job(work, job_id)
    if job.superseded_by is not None:
        raise ConflictError(f"job {job_id} was already retried as {job.superseded_by}")
    if job.state not in _RETRYABLE_STATES:
        raise ConflictError(
            f"job {job_id} is {job.state}; only failed and canceled jobs can be retried"
        )
    return _retry(work, [job], by, step_s)[0]


def retry_run(work: UnitOfWork, run_id: UUID, by: str, step_s: float) -> Run:
    """Queue new jobs that retry all failed and canceled jobs of a run.

    Args:
        work: The transaction.
        run_id: The run.
        by: The name of the operator.
        step_s: The waiting time in seconds that is equivalent to one priority step.

    Returns:
        The run after the change.

    Raises:
        NotFoundError: The run does not exist.
        ConflictError: Jobs of the run are still being canceled, so a retry would omit them.
    """
    runs.get_run(work.connection, run_id)
    _check_cancellation(work.connection, run_id)
    found = work.connection.execute(
        select(jobs.c.id)
        .where(
            jobs.c.run_id == run_id,
            jobs.c.state.in_(_RETRYABLE_STATES),
            jobs.c.superseded_by.is_(None),
        )
        .order_by(jobs.c.position)
    ).scalars()
    ids = list(found)
    rows = work.jobs(ids)
    # Another master may have retried some of the jobs before their rows were locked here.
    not_superseded = [rows[job_id] for job_id in ids if rows[job_id].superseded_by is None]
    _retry(work, not_superseded, by, step_s)
    return runs.get_run(work.connection, run_id)


def _check_cancellation(connection: Connection, run_id: UUID) -> None:
    pending = (
        select(jobs.c.id)
        .where(jobs.c.run_id == run_id, is_held(), jobs.c.cancel_requested)
        .order_by(jobs.c.id)
    )
    found = connection.execute(pending).scalars().all()
    if found:
        raise ConflictError(
            f"{len(found)} jobs of run {run_id} are still being canceled, for example {found[0]}; "
            "retry the run when they have ended"
        )


def set_priority(work: UnitOfWork, job_id: UUID, priority: Priority, step_s: float) -> None:
    """Change the priority of a job.

    Args:
        work: The transaction.
        job_id: The job.
        priority: The new priority.
        step_s: The waiting time in seconds that is equivalent to one priority step.

    Raises:
        NotFoundError: The job does not exist.
        ConflictError: The job is in a final state.
    """
    job = leases.lock_job(work, job_id)
    if job.state.is_final:
        raise ConflictError(f"job {job_id} is {job.state}; its priority can no longer be changed")
    job.priority = priority.steps
    job.rank = queue_rank(job.created_at, priority.steps, step_s)
    work.mark_changed(job)


def _retry(work: UnitOfWork, old_jobs: Iterable[JobRow], by: str, step_s: float) -> list[UUID]:
    new = []
    for old in old_jobs:
        job = transitions.clone_queued(old, work.now, step_s)
        job.created_by, job.retry_of = by, old.id
        old.superseded_by = job.id
        work.mark_changed(old)
        new.append(job)
    transitions.enqueue(work, new, f"retried by {by}")
    run_ids = {job.run_id for job in new if job.run_id is not None}
    work.connection.execute(
        update(runs_table).where(runs_table.c.id.in_(run_ids)).values(finished_at=None)
    )
    work.flush()
    return [job.id for job in new]


def cancel_run(work: UnitOfWork, run_id: UUID, by: str) -> Run:
    """Cancel the queued jobs of a run and request the cancellation of its running jobs.

    A finished run does not change.

    Args:
        work: The transaction.
        run_id: The run.
        by: The name of the operator.

    Returns:
        The run after the change.

    Raises:
        NotFoundError: The run does not exist.
    """
    runs.get_run(work.connection, run_id)
    runs.settle_nodes(work.connection, run_id, None)
    _cancel_all(work, jobs.c.run_id == run_id, f"canceled by {by}")
    return runs.get_run(work.connection, run_id)


def cancel_job(work: UnitOfWork, job_id: UUID, by: str) -> None:
    """Cancel a queued job or request the cancellation of a running one.

    A job in a final state does not change.

    Args:
        work: The transaction.
        job_id: The job.
        by: The name of the operator.

    Raises:
        NotFoundError: The job does not exist.
    """
    _cancel(work, leases.lock_job(work, job_id), f"canceled by {by}")


def remove_node(work: UnitOfWork, name: str, by: str) -> None:
    """Remove a node and cancel the queued jobs that are bound to it.

    Args:
        work: The transaction.
        name: The name of the node.
        by: The name of the operator.

    Raises:
        NotFoundError: The node does not exist.
        ConflictError: The node holds a job.
    """
    # The row of the node is locked first, so that no claim can lease a job to the node during the
    # check.
    work.statements.nodes([name])
    working = work.connection.execute(
        select(jobs.c.id).where(is_held(), jobs.c.leased_to == name).limit(1)
    ).scalar()
    if working is not None:
        raise ConflictError(
            f"node {name} holds job {working}; drain the node and wait, or cancel the job"
        )
    nodes.remove_node(work.connection, name)
    _cancel_all(work, jobs.c.node == name, f"node {name} was removed by {by}")


def _cancel_all(work: UnitOfWork, condition: ColumnElement[bool], reason: str) -> None:
    unfinished = [state for state in JobState if not state.is_final]
    query = select(jobs.c.id).where(condition, jobs.c.state.in_(unfinished)).order_by(jobs.c.id)
    ids = work.connection.execute(query).scalars().all()
    for chunk in chunks(ids, _ROWS_AT_ONCE):
        for job in work.jobs(chunk).values():
            _cancel(work, job, reason)
        work.flush()


def _cancel(work: UnitOfWork, job: JobRow, reason: str) -> None:
    if job.state is JobState.QUEUED:
        job.not_before = None
        transitions.transition(work, job, JobState.CANCELED, reason)
    elif job.state.holds_lease:
        job.cancel_requested = True
        work.mark_changed(job)
