"""What became of jobs and runs, for who follows it: read on from a place, nothing left out."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from ffrtmp_shared.models import JobEvent, RunEvent
from ffrtmp_shared.states import JobState
from sqlalchemy import Connection, select, tuple_

from ffrtmp_master.store import runs
from ffrtmp_master.store.read_horizon import below_horizon
from ffrtmp_master.store.results import START, Position
from ffrtmp_master.store.schema import jobs, transitions

PAGE = 500
"""How many transitions are read at once."""

_PLACE = (transitions.c.transaction_id, transitions.c.id)


class Event(NamedTuple):
    """Something that happened, and the place in the order of all transitions that it stands at.

    A run's end stands at the last transition that was seen of its jobs.
    """

    place: Position
    body: JobEvent | RunEvent


@dataclass(frozen=True)
class EventFilter:
    """Whose events are wanted: those of a run, of a job, or all."""

    run_id: UUID | None = None
    job_id: UUID | None = None

    def has(self, body: JobEvent | RunEvent) -> bool:
        """Return whether an event is wanted."""
        if self.job_id is not None and getattr(body, "job_id", None) != self.job_id:
            return False
        return self.run_id is None or body.run_id == self.run_id


EVERYTHING = EventFilter()


@dataclass(frozen=True)
class EventPage:
    """Events in their order, where the next page begins, and whether there is one already.

    `unfinished` are runs of whose jobs one ended, but that have not been seen to end themselves.
    """

    events: tuple[Event, ...]
    end: Position
    is_last: bool
    unfinished: frozenset[UUID]


def latest_position(connection: Connection) -> Position:
    """Return the place of the newest transition that nothing can come before any more."""
    row = connection.execute(
        select(*_PLACE)
        .where(*below_horizon(connection, transitions))
        .order_by(*(column.desc() for column in _PLACE))
        .limit(1)
    ).first()
    return START if row is None else Position(*row)


def run_at(connection: Connection, place: Position) -> UUID | None:
    """Return the run whose job made the transition at a place, if it is still there."""
    return connection.execute(
        select(jobs.c.run_id).join_from(transitions, jobs).where(tuple_(*_PLACE) == tuple_(*place))
    ).scalar()


def page_of_events(
    connection: Connection, after: Position, wanted: EventFilter, unfinished: Collection[UUID]
) -> EventPage:
    """Read events after a place, and the end of such runs as are final when no more is to come.

    `unfinished` are those of the page before. A run whose end was told and that was then taken up
    again ends a second time.
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
    told = [
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
        for row in rows
    ]
    end = told[-1].place if told else after
    touched = frozenset(unfinished) | _with_jobs_that_ended(told)
    if len(rows) == PAGE:
        return EventPage(tuple(told), end, is_last=False, unfinished=touched)
    ended = {run.run_id: run for run in runs.ended(connection, touched)}
    events = _merged(told, ended, after)
    # The place of the snapshot: what is not wanted needs no second look.
    return EventPage(
        events, latest_position(connection), is_last=True, unfinished=touched - ended.keys()
    )


def _with_jobs_that_ended(told: Iterable[Event]) -> frozenset[UUID]:
    return frozenset(
        event.body.run_id
        for event in told
        if isinstance(event.body, JobEvent)
        and event.body.after.is_final
        and event.body.run_id is not None
    )


def _merged(told: list[Event], ended: dict[UUID, RunEvent], after: Position) -> tuple[Event, ...]:
    """Put the end of each run behind the last transition of its jobs."""
    left = dict(ended)
    woven: list[Event] = []
    for event in reversed(told):
        run_id = event.body.run_id
        run = None if run_id is None else left.pop(run_id, None)
        if run is not None:
            woven.append(Event(event.place, run))
        woven.append(event)
    woven.reverse()
    return (*(Event(after, run) for run in left.values()), *woven)
