"""Actions of operators on jobs: cancel, retry, change the priority; and removal of a node."""

from collections.abc import Iterable
from itertools import islice
from uuid import UUID

from ffrtmp_shared.models import Run
from ffrtmp_shared.requirements import Priority
from ffrtmp_shared.states import JobState
from sqlalchemy import ColumnElement, select, update

from ffrtmp_master.queue import leases, transitions
from ffrtmp_master.queue.leases import is_held
from ffrtmp_master.store import nodes, runs
from ffrtmp_master.store.errors import ConflictError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.store.schema import runs as runs_table
from ffrtmp_master.store.unit_of_work import UnitOfWork

_CAN_BE_DONE_OVER = (JobState.FAILED, JobState.CANCELED)
_ROWS_AT_ONCE = 1000


def retry_job(work: UnitOfWork, job_id: UUID, by: str, step_s: float) -> UUID:
    """Queue a new job that does a failed or canceled one over; return its id.

    A final state stays final: the old job keeps its history and names the new one. Raises
    NotFoundError, or ConflictError when the job is not of that kind or was done over already.
    """
    job = leases.lock_job(work, job_id)
    if job.superseded_by is not None:
        raise ConflictError(f"job {job_id} is done over already, as {job.superseded_by}")
    if job.state not in _CAN_BE_DONE_OVER:
        raise ConflictError(
            f"job {job_id} is {job.state}; only what failed or was canceled can be done over"
        )
    return _retry(work, [job], by, step_s)[0]


def retry_run(work: UnitOfWork, run_id: UUID, by: str, step_s: float) -> Run:
    """Queue new jobs for all of a run that failed or were canceled; raises NotFoundError."""
    runs.get_run(work.connection, run_id)
    ids = work.connection.execute(
        select(jobs.c.id)
        .where(
            jobs.c.run_id == run_id,
            jobs.c.state.in_(_CAN_BE_DONE_OVER),
            jobs.c.superseded_by.is_(None),
        )
        .order_by(jobs.c.position)
    ).scalars()
    found = list(ids)
    rows = work.jobs(found)
    # Another master may have been quicker, before the rows were locked.
    still = [rows[job_id] for job_id in found if rows[job_id].superseded_by is None]
    _retry(work, still, by, step_s)
    return runs.get_run(work.connection, run_id)


def set_priority(work: UnitOfWork, job_id: UUID, priority: Priority, step_s: float) -> None:
    """Change how urgent a job is; raises NotFoundError, or ConflictError when it is final."""
    job = leases.lock_job(work, job_id)
    if job.state.is_final:
        raise ConflictError(f"job {job_id} is {job.state}; its priority matters no more")
    job.priority = priority.steps
    job.rank = transitions.rank(job.created_at, priority.steps, step_s)
    work.mark_changed(job)


def _retry(work: UnitOfWork, old_jobs: Iterable[JobRow], by: str, step_s: float) -> list[UUID]:
    new = []
    for old in old_jobs:
        job = transitions.clone_queued(old, work.now, step_s)
        job.created_by, job.retry_of = by, old.id
        old.superseded_by = job.id
        work.mark_changed(old)
        new.append(job)
    transitions.enqueue(work, new, f"done over by {by}")
    run_ids = {job.run_id for job in new if job.run_id is not None}
    work.connection.execute(
        update(runs_table).where(runs_table.c.id.in_(run_ids)).values(finished_at=None)
    )
    work.flush()
    return [job.id for job in new]


def cancel_run(work: UnitOfWork, run_id: UUID, by: str) -> Run:
    """Cancel what is queued at once, and ask the agents of what runs to stop.

    Raises NotFoundError. A run that is final stays as it is.
    """
    runs.get_run(work.connection, run_id)
    runs.settle_nodes(work.connection, run_id, None)
    _cancel_all(work, jobs.c.run_id == run_id, f"canceled by {by}")
    return runs.get_run(work.connection, run_id)


def cancel_job(work: UnitOfWork, job_id: UUID, by: str) -> None:
    """Cancel a job, or ask its agent to stop; raises NotFoundError. A final one stays as it is."""
    _cancel(work, leases.lock_job(work, job_id), f"canceled by {by}")


def remove_node(work: UnitOfWork, name: str, by: str) -> None:
    """Forget a node; what is queued for it alone can never be done and is canceled.

    Raises NotFoundError, or ConflictError while the node works on a job.
    """
    # Locked first: no claim may give it a job while this looks for one.
    work.statements.nodes([name])
    working = work.connection.execute(
        select(jobs.c.id).where(is_held(), jobs.c.leased_to == name).limit(1)
    ).scalar()
    if working is not None:
        raise ConflictError(f"node {name} works on job {working}; drain it and wait, or cancel")
    nodes.remove_node(work.connection, name)
    _cancel_all(work, jobs.c.node == name, f"node {name} was removed by {by}")


def _cancel_all(work: UnitOfWork, condition: ColumnElement[bool], reason: str) -> None:
    unfinished = [state for state in JobState if not state.is_final]
    ids = iter(
        work.connection.execute(
            select(jobs.c.id).where(condition, jobs.c.state.in_(unfinished)).order_by(jobs.c.id)
        )
        .scalars()
        .all()
    )
    while piece := list(islice(ids, _ROWS_AT_ONCE)):
        for job in work.jobs(piece).values():
            _cancel(work, job, reason)
        work.flush()


def _cancel(work: UnitOfWork, job: JobRow, reason: str) -> None:
    if job.state is JobState.QUEUED:
        job.not_before = None
        transitions.transition(work, job, JobState.CANCELED, reason)
    elif job.state.holds_lease:
        job.cancel_requested = True
        work.mark_changed(job)
