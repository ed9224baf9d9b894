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
    or_,
    select,
    text,
    tuple_,
    update,
)

from ffrtmp_master.store.artifacts import used_by_artifacts
from ffrtmp_master.store.schema import artifacts, jobs, requirements, results, runs

_ARTIFACT = (artifacts.c.job_id, artifacts.c.attempt, artifacts.c.name)

Place = tuple[datetime, UUID, int, str]
"""The place of a job or an artifact in the order in which they are examined."""


class Batch(NamedTuple):
    """The outcome of one batch.

    Attributes:
        removed: The number of removed rows.
        is_last: Whether nothing is left to be removed.
        freed_bytes: The size of the content to which no row refers any more.
        end: The place of the last row that was examined. The next batch begins after it, so that
            rows that must be kept are examined only once.
        removed_sets: The ids of the requirement sets that were removed with their last jobs.
    """

    removed: int
    is_last: bool
    freed_bytes: int = 0
    end: Place | None = None
    removed_sets: tuple[int, ...] = ()


def allow_async_commit(connection: Connection) -> None:
    """On PostgreSQL, let the commit of the transaction return before the changes are durable.

    If a removal is lost in a crash, it is repeated. The next durable commit makes it durable, too.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL synchronous_commit = off"))


def remove_jobs(
    connection: Connection, before: datetime, at_most: int, after: Place | None = None
) -> Batch:
    """Remove jobs that ended before a time, with their transitions, logs and artifacts.

    The jobs of a run are kept until the run itself has ended before that time, because the number
    of repeats and the results that are fetched depend on them. Results and their artifacts are
    always kept. Each run stores how many of its jobs were removed in each state. Requirement sets
    that have no jobs any more are removed.

    Args:
        connection: A connection with an open transaction.
        before: The time before which the jobs ended.
        at_most: The maximum number of jobs to examine.
        after: The place after which jobs are examined; None for the first batch.

    Returns:
        The outcome.
    """
    query = (
        select(
            jobs.c.id,
            jobs.c.run_id,
            jobs.c.state,
            jobs.c.superseded_by,
            jobs.c.finished_at,
            jobs.c.requirement_id,
            runs.c.finished_at.label("run_finished_at"),
        )
        .outerjoin_from(jobs, runs, jobs.c.run_id == runs.c.id)
        .where(jobs.c.finished_at < before)
        .order_by(jobs.c.finished_at, jobs.c.id)
        .limit(at_most)
        # Jobs that are locked because they are being retried are skipped and removed later.
        .with_for_update(skip_locked=True, of=jobs)
    )
    if after is not None:
        at, job_id, _, _ = after
        query = query.where(
            jobs.c.finished_at >= at, or_(jobs.c.finished_at > at, jobs.c.id > job_id)
        )
    examined = connection.execute(query).all()
    found = [
        row
        for row in examined
        if row.run_id is None or (row.run_finished_at is not None and row.run_finished_at < before)
    ]
    ids = [row.id for row in found]
    removed_sets: tuple[int, ...] = ()
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
        removed_sets = _remove_unused_sets(connection, {row.requirement_id for row in found})
    last = examined[-1] if examined else None
    return Batch(
        len(ids),
        is_last=len(examined) < at_most,
        end=None if last is None else (last.finished_at, last.id, 0, ""),
        removed_sets=removed_sets,
    )


def _remove_unused_sets(connection: Connection, set_ids: Collection[int]) -> tuple[int, ...]:
    """Remove those of the requirement sets that have no jobs, and return their ids."""
    has_jobs = exists(select(1).where(jobs.c.requirement_id == requirements.c.id))
    removed = connection.execute(
        delete(requirements)
        .where(requirements.c.id.in_(set_ids), ~has_jobs)
        .returning(requirements.c.id)
    )
    return tuple(removed.scalars())


def remove_artifacts(
    connection: Connection, before: datetime, at_most: int, after: Place | None = None
) -> Batch:
    """Remove artifacts that were stored before a time and that no unfinished job or run needs.

    Args:
        connection: A connection with an open transaction.
        before: The time before which the artifacts were stored.
        at_most: The maximum number of artifacts to examine.
        after: The place after which artifacts are examined; None for the first batch.

    Returns:
        The outcome.
    """
    examined = _oldest_artifacts(connection, at_most, after, artifacts.c.stored_at < before)
    found = [row for row in examined if not row.is_needed]
    _delete(connection, found)
    return Batch(
        len(found), is_last=len(examined) < at_most, end=_place(examined[-1]) if examined else None
    )


def artifacts_bytes(connection: Connection) -> int:
    """Return the size of all artifacts in bytes. Identical content is counted once."""
    contents = select(artifacts.c.sha256, artifacts.c.size_bytes).distinct().subquery()
    total = connection.execute(select(func.sum(contents.c.size_bytes))).scalar()
    return int(total or 0)


def remove_oldest_artifacts(
    connection: Connection, excess_bytes: int, at_most: int, after: Place | None = None
) -> Batch:
    """Remove the oldest artifacts that no unfinished job or run needs, until enough is freed.

    Args:
        connection: A connection with an open transaction.
        excess_bytes: The number of bytes to free.
        at_most: The maximum number of artifacts to examine.
        after: The place after which artifacts are examined; None for the first batch.

    Returns:
        The outcome, including the number of bytes that were freed.
    """
    found = _oldest_artifacts(connection, at_most, after)
    chosen, chosen_bytes, examined = [], 0, 0
    for row in found:
        if chosen_bytes >= excess_bytes:
            break
        examined += 1
        if not row.is_needed:
            chosen.append(row)
            chosen_bytes += row.size_bytes
    _delete(connection, chosen)
    sizes = {row.sha256: row.size_bytes for row in chosen}
    freed = sizes.keys() - used_by_artifacts(connection, sizes)
    freed_bytes = sum(sizes[sha256] for sha256 in freed)
    is_last = freed_bytes >= excess_bytes or examined == len(found) < at_most
    end = _place(found[examined - 1]) if examined else None
    return Batch(len(chosen), is_last, freed_bytes, end)


def _oldest_artifacts(
    connection: Connection,
    at_most: int,
    after: Place | None,
    *conditions: ColumnElement[bool],
) -> Sequence[Row[tuple[object, ...]]]:
    """Return artifacts, oldest first, each with whether an unfinished job or run needs it."""
    unfinished = [state for state in JobState if not state.is_final]
    is_needed = exists(
        select(1)
        .select_from(jobs.outerjoin(runs, jobs.c.run_id == runs.c.id))
        .where(
            jobs.c.id == artifacts.c.job_id,
            or_(
                jobs.c.state.in_(unfinished),
                and_(runs.c.id.is_not(None), runs.c.finished_at.is_(None)),
            ),
        )
    )
    query = (
        select(artifacts, is_needed.label("is_needed"))
        .where(*conditions)
        .order_by(artifacts.c.stored_at, *_ARTIFACT)
        .limit(at_most)
    )
    if after is not None:
        at, *key = after
        query = query.where(
            artifacts.c.stored_at >= at,
            or_(artifacts.c.stored_at > at, tuple_(*_ARTIFACT) > tuple_(*key)),
        )
    return connection.execute(query).all()


def _place(row: Row[tuple[object, ...]]) -> Place:
    return (row.stored_at, row.job_id, row.attempt, row.name)


def _delete(connection: Connection, rows: Collection[Row[tuple[object, ...]]]) -> None:
    if rows:
        keys = [(row.job_id, row.attempt, row.name) for row in rows]
        connection.execute(delete(artifacts).where(tuple_(*_ARTIFACT).in_(keys)))


def _count_removed(connection: Connection, removed: Sequence[Row[*tuple[Any, ...]]]) -> None:
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
