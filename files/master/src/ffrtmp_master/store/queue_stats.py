"""Statistics for scrapes: queued and held jobs, nodes, and the size of the database.

The queries for jobs use the partial indexes of queued and held jobs, so their cost does not depend
on the number of finished jobs. Finished jobs are counted by the metrics when they end.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from ffrtmp_shared.states import JobState, NodeState
from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select, text

from ffrtmp_master.store.rows import NodeRow
from ffrtmp_master.store.schema import jobs, nodes, requirements


class QueuedCount(NamedTuple):
    """The number of queued jobs that have the same requirement set, priority and backoff status."""

    requirement_id: int
    # The number of lower priorities.
    priority_steps: int
    is_backing_off: bool
    jobs: int


class QueuedGroup(NamedTuple):
    """The number of queued jobs of a run that have the same requirement set and backoff status.

    `not_before` is the earliest end of their backoff, or None if they are not in backoff.
    """

    run_id: UUID
    requirement_id: int
    not_before: datetime | None
    jobs: int


class HeldCount(NamedTuple):
    """The number of jobs that a node holds in one state, and whether these jobs are exclusive."""

    state: JobState
    node: str
    is_exclusive: bool
    jobs: int


class DatabaseSize(NamedTuple):
    """The size of the database on disk. `wal_bytes` is None if the database is not SQLite."""

    database_bytes: int
    wal_bytes: int | None


def _in_states(*states: JobState) -> ColumnElement[bool]:
    """Return the condition that a job is in one of the states.

    The states are literals, because databases cannot use a partial index with parameters.
    """
    if len(states) == 1:
        return jobs.c.state == literal_column(f"'{states[0]}'")
    return jobs.c.state.in_([literal_column(f"'{state}'") for state in states])


def waiting_query(now: datetime) -> Select[Any]:
    """Return the query that `count_queued` runs."""
    is_backing_off = func.coalesce(jobs.c.not_before > now, literal_column("false"))
    return (
        select(jobs.c.requirement_id, jobs.c.priority, is_backing_off, func.count())
        .where(_in_states(JobState.QUEUED))
        .group_by(text("1, 2, 3"))
    )


def held_query() -> Select[Any]:
    """Return the query that `count_held` runs."""
    return (
        select(jobs.c.state, jobs.c.leased_to, requirements.c.exclusive, func.count())
        .join_from(jobs, requirements)
        .where(_in_states(JobState.LEASED, JobState.RUNNING))
        .group_by(jobs.c.state, jobs.c.leased_to, requirements.c.exclusive)
    )


def count_queued(connection: Connection, now: datetime) -> list[QueuedCount]:
    """Count the queued jobs by requirement set, priority and backoff."""
    rows = connection.execute(waiting_query(now))
    return [
        QueuedCount(requirement_id, steps, bool(is_backing_off), count)
        for requirement_id, steps, is_backing_off, count in rows
    ]


def count_queued_of_runs(
    connection: Connection, run_ids: Sequence[UUID], now: datetime
) -> list[QueuedGroup]:
    """Count the queued jobs of runs by requirement set and backoff.

    Args:
        connection: A connection to the database.
        run_ids: The runs.
        now: The current time.

    Returns:
        One item for each run, requirement set and backoff status that occurs.
    """
    is_backing_off = func.coalesce(jobs.c.not_before > now, literal_column("false"))
    rows = connection.execute(
        select(
            jobs.c.run_id,
            jobs.c.requirement_id,
            is_backing_off,
            func.min(jobs.c.not_before),
            func.count(),
        )
        .where(jobs.c.run_id.in_(run_ids), _in_states(JobState.QUEUED))
        .group_by(text("1, 2, 3"))
    )
    return [
        QueuedGroup(run_id, requirement_id, not_before if is_backing_off else None, count)
        for run_id, requirement_id, is_backing_off, not_before, count in rows
    ]


def count_held(connection: Connection) -> list[HeldCount]:
    """Count the leased and running jobs by state and node."""
    rows = connection.execute(held_query())
    return [
        HeldCount(JobState(state), node, is_exclusive, count)
        for state, node, is_exclusive, count in rows
    ]


def list_node_rows(connection: Connection) -> list[NodeRow]:
    """Return all nodes without their registrations."""
    rows = connection.execute(
        select(nodes.c.id, nodes.c.name, nodes.c.state, nodes.c.revision, nodes.c.last_seen_at)
    )
    return [
        NodeRow(node_id, name, NodeState(state), revision, at)
        for node_id, name, state, revision, at in rows
    ]


def database_size(connection: Connection) -> DatabaseSize:
    """Return the size of the database."""
    if connection.dialect.name != "sqlite":
        size = connection.execute(text("SELECT pg_database_size(current_database())"))
        return DatabaseSize(size.scalar_one(), None)
    pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    page_bytes = connection.execute(text("PRAGMA page_size")).scalar_one()
    wal = Path(f"{connection.engine.url.database}-wal")
    # The file does not exist if the last connection has been closed.
    return DatabaseSize(pages * page_bytes, wal.stat().st_size if wal.exists() else 0)
