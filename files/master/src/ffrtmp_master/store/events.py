"""Events: transitions of jobs and ends of runs, which are read from a position without gaps."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.models import JobEvent, RunEvent
from ffrtmp_shared.states import JobState
from sqlalchemy import Connection, Row, select, tuple_

from ffrtmp_master.store import runs
from ffrtmp_master.store.epochs import History, read_history
from ffrtmp_master.store.positions import (
    Position,
    below_horizon,
    latest_position,
    position_columns,
)
from ffrtmp_master.store.schema import jobs, transitions

PAGE = 500
"""The maximum number of transitions per page."""

_PLACE = position_columns(transitions)


class Event(NamedTuple):
    """An event and its position in the order of all transitions.

    The end of a run has the position of the last transition of its jobs that was read.
    """

    place: Position
    body: JobEvent | RunEvent


@dataclass(frozen=True)
class EventFilter:
    """A filter that selects the events of one run, the events of one job, or all events."""

    run_id: UUID | None = None
    job_id: UUID | None = None

    def has(self, body: JobEvent | RunEvent) -> bool:
        """Return whether an event matches the filter."""
        if self.job_id is not None and getattr(body, "job_id", None) != self.job_id:
            return False
        return self.run_id is None or body.run_id == self.run_id


EVERYTHING = EventFilter()


@dataclass(frozen=True)
class EventPage:
    """A page of events.

    Attributes:
        events: The events in order.
        end: The position after which the next page begins.
        is_last: Whether there are no further events yet.
        unfinished: The runs in which a job has ended, but whose own end has not been read yet.
        history: The epochs of the database in the snapshot of the page.
    """

    events: tuple[Event, ...]
    end: Position
    is_last: bool
    unfinished: frozenset[UUID]
    history: History


class FeedStart(NamedTuple):
    """The epochs of the database, and the position before which no further event can appear."""

    history: History
    place: Position


def feed_start(connection: Connection) -> FeedStart:
    """Return the position from which a feed delivers new events."""
    history = read_history(connection, transitions)
    return FeedStart(history, latest_position(connection, transitions))


def run_at(connection: Connection, place: Position) -> UUID | None:
    """Return the run of the job whose transition is at a position; None if there is no run."""
    return connection.execute(
        select(jobs.c.run_id).join_from(transitions, jobs).where(tuple_(*_PLACE) == tuple_(*place))
    ).scalar()


def page_of_events(
    connection: Connection,
    after: Position,
    wanted: EventFilter,
    unfinished: Collection[UUID],
    guard: ItemGuard,
) -> EventPage:
    """Return the events after a position.

    The last page includes the ends of finished runs. If a run is resumed after its end was
    reported, its next end is reported as well.

    Args:
        connection: A connection to the database.
        after: The position after which the page begins.
        wanted: The filter.
        unfinished: The `unfinished` runs of the previous page.
        guard: The guard that reports transitions that cannot be read. They are left out.

    Returns:
        The page.
    """
    query = (
        select(*_PLACE, transitions, jobs.c.run_id)
        .join_from(transitions, jobs)
        .where(tuple_(*_PLACE) > tuple_(*after), *below_horizon(connection, transitions))
        .order_by(*_PLACE)
        .limit(PAGE)
    )
    if wanted.run_id is not None:
        query = query.where(jobs.c.run_id == wanted.run_id)
    if wanted.job_id is not None:
        query = query.where(jobs.c.id == wanted.job_id)
    rows = connection.execute(query).all()
    job_events: list[Event] = []
    for row in rows:
        guard.run(f"transition {row.id}", partial(_add_event, row, job_events))
    end = Position(rows[-1].transaction_id, rows[-1].id) if rows else after
    touched = frozenset(unfinished) | _with_jobs_that_ended(job_events)
    history = read_history(connection, transitions)
    if len(rows) == PAGE:
        return EventPage(tuple(job_events), end, is_last=False, unfinished=touched, history=history)
    ended = {run.run_id: run for run in runs.ended(connection, touched)}
    events = _merged(job_events, ended, after)
    # The next page begins at the newest position in this snapshot, so that events that do not match
    # the filter are not read again.
    return EventPage(
        events,
        latest_position(connection, transitions),
        is_last=True,
        unfinished=touched - ended.keys(),
        history=history,
    )


def _add_event(row: Row[Any], job_events: list[Event]) -> None:
    job_events.append(
        Event(
            Position(row.transaction_id, row.id),
            JobEvent(
                job_id=row.job_id,
                run_id=row.run_id,
                before=None if row.before is None else JobState(row.before),
                after=JobState(row.after),
                attempt=row.attempt,
                at=row.at,
                reason=row.reason,
            ),
        )
    )


def _with_jobs_that_ended(job_events: Iterable[Event]) -> frozenset[UUID]:
    return frozenset(
        event.body.run_id
        for event in job_events
        if isinstance(event.body, JobEvent)
        and event.body.after.is_final
        and event.body.run_id is not None
    )


def _merged(
    job_events: list[Event], ended: dict[UUID, RunEvent], after: Position
) -> tuple[Event, ...]:
    """Insert the end of each run after the last transition of its jobs."""
    remaining = dict(ended)
    merged: list[Event] = []
    for event in reversed(job_events):
        run_id = event.body.run_id
        run = None if run_id is None else remaining.pop(run_id, None)
        if run is not None:
            merged.append(Event(event.place, run))
        merged.append(event)
    merged.reverse()
    return (*(Event(after, run) for run in remaining.values()), *merged)
