"""Ending what an operator no longer wants: a job, a run, or a node."""

from itertools import islice
from uuid import UUID

from ffrtmp_shared.models import Run
from ffrtmp_shared.states import JobState
from sqlalchemy import ColumnElement, select

from ffrtmp_master.queue import leases, transitions
from ffrtmp_master.queue.leases import is_held
from ffrtmp_master.store import nodes, runs
from ffrtmp_master.store.refusals import ConflictError
from ffrtmp_master.store.rows import JobRow
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.store.work import Work

_ROWS_AT_ONCE = 1000


def cancel_run(work: Work, run_id: UUID, by: str) -> Run:
    """Cancel what is queued at once, and ask the agents of what runs to stop.

    Raises NotFoundError. A run that is final stays as it is.
    """
    runs.find(work.connection, run_id)
    runs.settle(work.connection, run_id, None)
    _cancel_all(work, jobs.c.run_id == run_id, f"canceled by {by}")
    return runs.find(work.connection, run_id)


def cancel_job(work: Work, job_id: UUID, by: str) -> None:
    """Cancel a job, or ask its agent to stop; raises NotFoundError. A final one stays as it is."""
    _cancel(work, leases.find(work, job_id), f"canceled by {by}")


def remove_node(work: Work, name: str, by: str) -> None:
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
    nodes.remove(work.connection, name)
    _cancel_all(work, jobs.c.node == name, f"node {name} was removed by {by}")


def _cancel_all(work: Work, condition: ColumnElement[bool], reason: str) -> None:
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


def _cancel(work: Work, job: JobRow, reason: str) -> None:
    if job.state is JobState.QUEUED:
        job.not_before = None
        transitions.move(work, job, JobState.CANCELED, reason)
    elif job.state.holds_lease:
        job.cancel_requested = True
        work.change(job)
