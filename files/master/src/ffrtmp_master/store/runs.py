"""Queries for runs and for the numbers of their jobs in each state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ffrtmp_shared.models import Run, RunEvent, RunPage
from ffrtmp_shared.states import JobState, run_state
from sqlalchemy import Connection, Row, exists, func, select, update

from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.priorities import priority_of
from ffrtmp_master.store.schema import jobs, runs

RunRow = Row[tuple[object, ...]]

Unsettled = dict[str, datetime | None]
"""The nodes on which a run may get further jobs, with the times of their last control encodes."""


def get_run(connection: Connection, run_id: UUID) -> Run:
    """Return a run with the current counts of its jobs. Raises NotFoundError."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).first()
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    return _runs(connection, [row])[0]


def check_exists(connection: Connection, run_id: UUID) -> None:
    """Raise NotFoundError if there is no such run."""
    if connection.execute(select(runs.c.id).where(runs.c.id == run_id)).first() is None:
        raise NotFoundError(f"there is no run {run_id}")


def suite_of(connection: Connection, run_id: UUID) -> str:
    """Return the text of the suite of a run, as it was submitted. Raises NotFoundError."""
    text = connection.execute(select(runs.c.suite).where(runs.c.id == run_id)).scalar()
    if text is None:
        raise NotFoundError(f"there is no run {run_id}")
    return str(text)


def submissions(connection: Connection, run_ids: Iterable[UUID]) -> dict[UUID, RunRow]:
    """Return the properties of runs that do not depend on their jobs, without the suites."""
    columns = [
        runs.c.id,
        runs.c.suite_name,
        runs.c.key,
        runs.c.seed,
        runs.c.priority,
        runs.c.created_at,
        runs.c.created_by,
        runs.c.finished_at,
    ]
    rows = connection.execute(select(*columns).where(runs.c.id.in_(list(run_ids)))).all()
    return {row.id: row for row in rows}


def by_key(connection: Connection, created_by: str, key: str) -> RunRow | None:
    """Return the row of the run that a submitter created with an idempotency key.

    Args:
        connection: A connection to the database.
        created_by: The name of the submitter.
        key: The idempotency key.

    Returns:
        The row, or None.
    """
    return connection.execute(
        select(runs).where(runs.c.created_by == created_by, runs.c.key == key)
    ).first()


@dataclass(frozen=True)
class RunFilter:
    """A filter that selects the runs of a submitter, the run with its key, or all runs.

    Keys belong to their owners: a key is only meaningful together with the submitter.
    """

    created_by: str | None = None
    key: str | None = None
    only_unfinished: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a key without an owner."""
        if self.key is not None and self.created_by is None:
            raise ValueError("a key must be looked up for one submitter")


ALL_RUNS = RunFilter()


def page_of_runs(
    connection: Connection, before: UUID | None, limit: int, wanted: RunFilter = ALL_RUNS
) -> RunPage:
    """Return a page of runs, newest first.

    Args:
        connection: A connection to the database.
        before: The id after which the page begins; None for the first page.
        limit: The maximum number of runs.
        wanted: The filter.

    Returns:
        The page.
    """
    query = select(runs).order_by(runs.c.id.desc()).limit(limit + 1)
    if wanted.created_by is not None:
        query = query.where(runs.c.created_by == wanted.created_by)
    if wanted.key is not None:
        query = query.where(runs.c.key == wanted.key)
    if wanted.only_unfinished:
        query = query.where(runs.c.finished_at.is_(None))
    if before is not None:
        query = query.where(runs.c.id < before)
    rows = connection.execute(query).all()
    items = tuple(_runs(connection, rows[:limit]))
    return RunPage(items=items, next_cursor=str(items[-1].id) if len(rows) > limit else None)


def _runs(connection: Connection, rows: Sequence[RunRow]) -> list[Run]:
    counts: dict[UUID, dict[JobState, int]] = {row.id: dict.fromkeys(JobState, 0) for row in rows}
    counted = connection.execute(
        select(jobs.c.run_id, jobs.c.state, func.count())
        # A retried job is not counted; the job that retries it is.
        .where(jobs.c.run_id.in_(counts), jobs.c.superseded_by.is_(None))
        .group_by(jobs.c.run_id, jobs.c.state)
    )
    for run_id, state, count in counted:
        counts[run_id][JobState(state)] = count
    for row in rows:
        for state, count in (row.removed_counts or {}).items():
            counts[row.id][JobState(state)] += count
    return [
        Run(
            id=row.id,
            suite_name=row.suite_name,
            state=run_state(counts[row.id], more_to_come=bool(row.unsettled_nodes)),
            seed=row.seed,
            counts={state.value: count for state, count in counts[row.id].items()},
            nodes=row.nodes,
            created_at=row.created_at,
            created_by=row.created_by,
            finished_at=row.finished_at,
            key=row.key,
            priority=priority_of(row.priority),
            unsettled_nodes=tuple(sorted(row.unsettled_nodes or ())),
            omitted_nodes=row.omitted_nodes or (),
        )
        for row in rows
    ]


def settle_nodes(connection: Connection, run_id: UUID, unsettled: Unsettled | None) -> None:
    """Store the nodes on which a run may get further jobs.

    Args:
        connection: A connection with an open transaction.
        run_id: The run.
        unsettled: The nodes. If there are none, this may be None or empty.
    """
    connection.execute(
        update(runs).where(runs.c.id == run_id).values(unsettled_nodes=unsettled or None)
    )


def ended(connection: Connection, run_ids: Iterable[UUID]) -> list[RunEvent]:
    """Return the events for the ends of those runs that are finished."""
    rows = connection.execute(
        select(runs).where(runs.c.id.in_(list(run_ids)), runs.c.finished_at.is_not(None))
    ).all()
    return [
        RunEvent(run_id=run.id, state=run.state, counts=run.counts, finished_at=run.finished_at)
        for run in (_runs(connection, rows) if rows else ())
        if run.finished_at is not None
    ]


def finish_all(connection: Connection, now: datetime) -> None:
    """Mark as finished all runs that have only final jobs and get no further jobs.

    If two masters end the last two jobs of a run at the same time, each of them may still see the
    other job as unfinished, so that neither marks the run as finished. This repairs such runs.
    """
    unfinished = [state for state in JobState if not state.is_final]
    has_more = exists(
        select(jobs.c.id).where(jobs.c.run_id == runs.c.id, jobs.c.state.in_(unfinished))
    )
    connection.execute(
        update(runs)
        .where(runs.c.finished_at.is_(None), runs.c.unsettled_nodes.is_(None), ~has_more)
        .values(finished_at=now)
    )
