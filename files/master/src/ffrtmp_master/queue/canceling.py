"""Ending what an operator no longer wants: a run, or a node."""

from datetime import datetime
from uuid import UUID

from ffrtmp_shared.models import Run
from ffrtmp_shared.states import JobState
from sqlalchemy import ColumnElement, Connection, select, update

from ffrtmp_master.queue import transitions
from ffrtmp_master.queue.leases import is_held
from ffrtmp_master.queue.transitions import JobAt
from ffrtmp_master.store import nodes, runs
from ffrtmp_master.store.refusals import ConflictError
from ffrtmp_master.store.schema import jobs


def cancel_run(connection: Connection, run_id: UUID, by: str, now: datetime) -> Run:
    """Cancel what is queued at once, and ask the agents of what runs to stop.

    Raises NotFoundError. A run that is final stays as it is.
    """
    runs.find(connection, run_id)
    _cancel_queued(connection, jobs.c.run_id == run_id, f"canceled by {by}", now)
    connection.execute(
        update(jobs).where(jobs.c.run_id == run_id, is_held()).values(cancel_requested=True)
    )
    return runs.find(connection, run_id)


def remove_node(connection: Connection, name: str, by: str, now: datetime) -> None:
    """Forget a node; what is queued for it alone can never be done and is canceled.

    Raises NotFoundError, or ConflictError while the node works on a job.
    """
    working = connection.execute(
        select(jobs.c.id).where(is_held(), jobs.c.leased_to == name).limit(1)
    ).scalar()
    if working is not None:
        raise ConflictError(f"node {name} works on job {working}; drain it and wait, or cancel")
    nodes.remove(connection, name)
    _cancel_queued(connection, jobs.c.node == name, f"node {name} was removed by {by}", now)


def _cancel_queued(
    connection: Connection, condition: ColumnElement[bool], reason: str, now: datetime
) -> None:
    rows = connection.execute(
        select(jobs.c.id, jobs.c.run_id, jobs.c.attempt).where(
            condition, jobs.c.state == JobState.QUEUED
        )
    )
    queued = [
        JobAt(id=row.id, run_id=row.run_id, state=JobState.QUEUED, attempt=row.attempt)
        for row in rows
    ]
    transitions.move(connection, queued, JobState.CANCELED, reason, now, not_before=None)
