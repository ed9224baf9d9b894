"""How much waits and is worked on, and how large the database is: what a scrape asks.

Nothing here costs more for a long history: jobs are read through the partial indexes of those that
wait and those that are held, and what is over is counted when it happens, in the metrics.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ffrtmp_shared.states import JobState, NodeState
from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select, text

from ffrtmp_master.store.rows import NodeRow
from ffrtmp_master.store.schema import jobs, nodes, requirements


class QueuedCount(NamedTuple):
    """How many queued jobs there are of a set of requirements, a priority, and one readiness."""

    requirement_id: int
    # How many priorities stand below it.
    priority_steps: int
    is_backing_off: bool
    jobs: int


class HeldCount(NamedTuple):
    """How many jobs of a state a node works on, and whether they have it for themselves."""

    state: JobState
    node: str
    is_exclusive: bool
    jobs: int


class DatabaseSize(NamedTuple):
    """What the database takes on its disk; the write-ahead log's file is SQLite's alone."""

    database_bytes: int
    wal_bytes: int | None


def _in_states(*states: JobState) -> ColumnElement[bool]:
    """Return a condition in the words of the partial indexes; no parameter can choose one."""
    if len(states) == 1:
        return jobs.c.state == literal_column(f"'{states[0]}'")
    return jobs.c.state.in_([literal_column(f"'{state}'") for state in states])


def waiting_query(now: datetime) -> Select[Any]:
    """Return the query of `waiting`."""
    is_backing_off = func.coalesce(jobs.c.not_before > now, literal_column("false"))
    return (
        select(jobs.c.requirement_id, jobs.c.priority, is_backing_off, func.count())
        .where(_in_states(JobState.QUEUED))
        .group_by(text("1, 2, 3"))
    )


def held_query() -> Select[Any]:
    """Return the query of `held`."""
    return (
        select(jobs.c.state, jobs.c.leased_to, requirements.c.exclusive, func.count())
        .join_from(jobs, requirements)
        .where(_in_states(JobState.LEASED, JobState.RUNNING))
        .group_by(jobs.c.state, jobs.c.leased_to, requirements.c.exclusive)
    )


def count_queued(connection: Connection, now: datetime) -> list[QueuedCount]:
    """Count the queued jobs."""
    rows = connection.execute(waiting_query(now))
    return [QueuedCount(one, steps, bool(later), count) for one, steps, later, count in rows]


def count_held(connection: Connection) -> list[HeldCount]:
    """Count the jobs that are worked on."""
    rows = connection.execute(held_query())
    return [HeldCount(JobState(state), node, alone, count) for state, node, alone, count in rows]


def list_node_rows(connection: Connection) -> list[NodeRow]:
    """Return all nodes, without what their agents said of them."""
    rows = connection.execute(
        select(nodes.c.name, nodes.c.state, nodes.c.revision, nodes.c.last_seen_at)
    )
    return [NodeRow(name, NodeState(state), revision, at) for name, state, revision, at in rows]


def database_size(connection: Connection) -> DatabaseSize:
    """Return how large the database is."""
    if connection.dialect.name != "sqlite":
        counted = connection.execute(text("SELECT pg_database_size(current_database())"))
        return DatabaseSize(counted.scalar_one(), None)
    pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    page_bytes = connection.execute(text("PRAGMA page_size")).scalar_one()
    wal = Path(f"{connection.engine.url.database}-wal")
    # It is gone for a moment when its last connection closes.
    return DatabaseSize(pages * page_bytes, wal.stat().st_size if wal.exists() else 0)
