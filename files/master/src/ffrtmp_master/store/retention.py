"""Retention: removal of old jobs and artifacts in batches. Results are kept."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ffrtmp_shared.states import JobState
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    exists,
    func,
    select,
    text,
    tuple_,
    update,
)

from ffrtmp_master.store.artifacts import used_by_artifacts
from ffrtmp_master.store.schema import artifacts, jobs, results, runs

_ARTIFACT = (artifacts.c.job_id, artifacts.c.attempt, artifacts.c.name)


class Batch(NamedTuple):
    """The outcome of one batch; `is_last` is True if nothing is left to be removed."""

    removed: int
    is_last: bool
    freed_bytes: int = 0


def allow_async_commit(connection: Connection) -> None:
    """On PostgreSQL, let the commit of the transaction return before the changes are durable.

    If a removal is lost in a crash, it is repeated. The next durable commit makes it durable, too.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL synchronous_commit = off"))


def remove_jobs(connection: Connection, before: datetime, at_most: int) -> Batch:
    """Remove jobs that ended before a time, with their transitions, logs and artifacts.

    Results and their artifacts are kept. Each run stores how many of its jobs were removed in each
    state.

    Args:
        connection: A connection with an open transaction.
        before: The time before which the jobs ended.
        at_most: The maximum number of jobs in the batch.

    Returns:
        The outcome.
    """
    found = connection.execute(
        select(jobs.c.id, jobs.c.run_id, jobs.c.state, jobs.c.superseded_by)
        .where(jobs.c.finished_at < before)
        .order_by(jobs.c.finished_at)
        .limit(at_most)
        # Jobs that are locked because they are being retried are skipped and removed later.
        .with_for_update(skip_locked=True)
    ).all()
    ids = [row.id for row in found]
    if ids:
        _count_removed(connection, found)
        has_result = exists(
            select(1).where(
                results.c.job_id == artifacts.c.job_id, results.c.attempt == artifacts.c.attempt
            )
        )
        connection.execute(delete(artifacts).where(artifacts.c.job_id.in_(ids), ~has_result))
        # The foreign keys remove the transitions and logs as well.
        connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return Batch(len(ids), is_last=len(ids) < at_most)


def remove_artifacts(connection: Connection, before: datetime, at_most: int) -> Batch:
    """Remove artifacts that were stored before a time.

    Args:
        connection: A connection with an open transaction.
        before: The time before which the artifacts were stored.
        at_most: The maximum number of artifacts in the batch.

    Returns:
        The outcome.
    """
    found = _oldest_artifacts(connection, at_most, artifacts.c.stored_at < before)
    _delete(connection, found)
    return Batch(len(found), is_last=len(found) < at_most)


def artifacts_bytes(connection: Connection) -> int:
    """Return the size of all artifacts in bytes. Identical content is counted once."""
    contents = select(artifacts.c.sha256, artifacts.c.size_bytes).distinct().subquery()
    total = connection.execute(select(func.sum(contents.c.size_bytes))).scalar()
    return int(total or 0)


def remove_oldest_artifacts(connection: Connection, excess_bytes: int, at_most: int) -> Batch:
    """Remove the oldest artifacts until enough bytes are freed.

    Args:
        connection: A connection with an open transaction.
        excess_bytes: The number of bytes to free.
        at_most: The maximum number of artifacts in the batch.

    Returns:
        The outcome, including the number of bytes that were freed.
    """
    found = _oldest_artifacts(connection, at_most)
    chosen, chosen_bytes = [], 0
    for row in found:
        if chosen_bytes >= excess_bytes:
            break
        chosen.append(row)
        chosen_bytes += row.size_bytes
    _delete(connection, chosen)
    sizes = {row.sha256: row.size_bytes for row in chosen}
    freed = sizes.keys() - used_by_artifacts(connection, sizes)
    freed_bytes = sum(sizes[sha256] for sha256 in freed)
    is_last = freed_bytes >= excess_bytes or len(chosen) == len(found) < at_most
    return Batch(len(chosen), is_last, freed_bytes)


def _oldest_artifacts(
    connection: Connection, at_most: int, *conditions: ColumnElement[bool]
) -> Sequence[Row[tuple[object, ...]]]:
    """Return artifacts, oldest first, except those of jobs that are leased or running."""
    is_running = exists(
        select(1).where(
            and_(
                jobs.c.id == artifacts.c.job_id,
                jobs.c.state.in_([JobState.LEASED, JobState.RUNNING]),
            )
        )
    )
    return connection.execute(
        select(artifacts)
        .where(*conditions, ~is_running)
        .order_by(artifacts.c.stored_at, *_ARTIFACT)
        .limit(at_most)
    ).all()


def _delete(connection: Connection, rows: Collection[Row[tuple[object, ...]]]) -> None:
    if rows:
        keys = [(row.job_id, row.attempt, row.name) for row in rows]
        connection.execute(delete(artifacts).where(tuple_(*_ARTIFACT).in_(keys)))


def _count_removed(connection: Connection, removed: Sequence[Row[Any, Any, Any, Any]]) -> None:
    """Add the removed jobs to the counts of removed jobs of their runs, except retried jobs."""
    counts: dict[UUID, Counter[str]] = defaultdict(Counter)
    for row in removed:
        if row.run_id is not None and row.superseded_by is None:
            counts[row.run_id][row.state] += 1
    before = connection.execute(
        select(runs.c.id, runs.c.removed_counts)
        .where(runs.c.id.in_(counts))
        .order_by(runs.c.id)
        .with_for_update()
    ).all()
    for run_id, removed_counts in before:
        counts[run_id].update(removed_counts or {})
        connection.execute(
            update(runs).where(runs.c.id == run_id).values(removed_counts=dict(counts[run_id]))
        )
