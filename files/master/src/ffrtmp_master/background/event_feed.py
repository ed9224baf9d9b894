"""Events for all who follow them: read once, kept for a while, and given to each."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import islice
from uuid import UUID

from ffrtmp_shared.models import JobEvent
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.store import events
from ffrtmp_master.store.events import EVERYTHING, Event, EventFilter, EventPage
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.results import START, Position

_log = logging.getLogger(__name__)

# What another master did, or what was not settled at the first look, is found after so long.
_LOOK_EVERY_S = 1.0
# Many commits are looked at together.
_BREATH_S = 0.1
_MOST_KEPT = 5000


class EventFeed:
    """One reader of the transitions, for any number of followers, while there are any.

    Events are numbered as they are read. Who wants older ones than are kept, or falls behind
    them, is served from the database. For one event loop alone.
    """

    def __init__(self, reader: Reader) -> None:
        """Prepare to read through `reader`."""
        self._reader = reader
        self._joining = asyncio.Lock()
        self._followers = 0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        self._kept: deque[Event] = deque()
        self._dropped = 0
        self._unfinished: set[UUID] = set()
        self._is_behind = False
        self.place = START
        self.is_closed = False

    def __len__(self) -> int:
        """Count those who follow."""
        return self._followers

    @asynccontextmanager
    async def subscribe(
        self, wanted: EventFilter, after: Position | None
    ) -> AsyncIterator["EventSubscriber"]:
        """Follow while the context lasts, from a place on or from now on."""
        async with self._joining:
            await self._start()
            self._followers += 1
        try:
            yield EventSubscriber(self, self._reader, wanted, after)
        finally:
            self._followers -= 1

    def wake(self) -> None:
        """Look soon: something was committed."""
        if self._task is not None:
            self._news.set()

    def close(self) -> None:
        """Send everybody home: the master stops."""
        self.is_closed = True
        self._changed.set()
        if self._task is not None:
            self._task.cancel()

    @property
    def end(self) -> int:
        """How many events were read in all."""
        return self._dropped + len(self._kept)

    def since(self, number: int) -> list[Event] | None:
        """Return what came after so many events; None when that is no longer kept."""
        if number < self._dropped:
            return None
        return list(islice(self._kept, number - self._dropped, None))

    def watch_runs(self, runs: Iterable[UUID]) -> None:
        """Tell the end of these runs, too."""
        self._unfinished.update(runs)

    async def more_than(self, number: int, longest_s: float) -> bool:
        """Wait until more than so many events were read; return whether that is so."""
        if self.end <= number and not self.is_closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), longest_s)
        return self.end > number

    async def _start(self) -> None:
        if self._task is not None or self.is_closed:
            return
        self.place = await self._reader.read(events.latest_position)
        self._dropped = self.end
        self._kept.clear()
        self._unfinished.clear()
        self._task = asyncio.create_task(self._read_on())

    async def _read_on(self) -> None:
        try:
            while self._followers or self._joining.locked():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), _LOOK_EVERY_S)
                self._news.clear()
                try:
                    await self._read()
                except SQLAlchemyError as error:
                    self._is_behind = False
                    _log.warning("the events could not be read: %s", error)
                if not self._is_behind:
                    await asyncio.sleep(_BREATH_S)
        finally:
            self._task = None

    async def _read(self) -> None:
        place, unfinished = self.place, frozenset(self._unfinished)

        def query(connection: Connection) -> EventPage:
            return events.page_of_events(connection, place, EVERYTHING, unfinished)

        page = await self._reader.read(query)
        self.place = page.end
        self._unfinished -= unfinished - page.unfinished
        self._unfinished |= page.unfinished
        self._is_behind = not page.is_last
        if self._is_behind:
            self._news.set()
        if page.events:
            self._kept.extend(page.events)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popleft()
                self._dropped += 1
            self._changed.set()
            self._changed = asyncio.Event()


class EventSubscriber:
    """One who follows events, at its own pace."""

    def __init__(
        self, feed: EventFeed, reader: Reader, wanted: EventFilter, after: Position | None
    ) -> None:
        """Begin after a place, or now; the end of the one run that is wanted is always told."""
        self._feed = feed
        self._reader = reader
        self._wanted = wanted
        self._place = feed.place if after is None else after
        self._unfinished = frozenset(() if wanted.run_id is None else (wanted.run_id,))
        # How much of the feed it has seen; None while it reads from the database.
        self._number: int | None = feed.end
        if after is not None or self._unfinished:
            self._number = None
        self._is_resuming = after is not None

    async def next(self, longest_s: float) -> list[Event] | None:
        """Return further events, none when there were none for so long, None at the end of all."""
        if self._feed.is_closed:
            return None
        if self._number is None:
            return await self._catch_up()
        if not await self._feed.more_than(self._number, longest_s):
            return []
        found = self._feed.since(self._number)
        if found is None:
            return await self._catch_up()
        self._number += len(found)
        fresh = [event for event in found if self._is_fresh(event)]
        self._place = max([self._place, *(event.place for event in found)])
        return fresh

    def _is_fresh(self, event: Event) -> bool:
        """Return whether an event is wanted and was not told when catching up.

        The end of a run may be told twice: it stands at the place of a transition.
        """
        was_told = isinstance(event.body, JobEvent) and event.place <= self._place
        return self._wanted.has(event.body) and not was_told

    async def _catch_up(self) -> list[Event]:
        # What the feed reads from here on may be in the page too, but nothing is between them.
        number = self._feed.end
        after, wanted, unfinished = self._place, self._wanted, self._unfinished
        is_resuming = self._is_resuming

        def query(connection: Connection) -> EventPage:
            # The end of this run stands at the same place and may not have been told.
            last = events.run_at(connection, after) if is_resuming else None
            looked_for = unfinished if last is None else unfinished | {last}
            return events.page_of_events(connection, after, wanted, looked_for)

        page = await self._reader.read(query)
        self._is_resuming = False
        self._place, self._unfinished = page.end, page.unfinished
        self._number = None
        if page.is_last:
            self._number = number
            self._feed.watch_runs(page.unfinished)
            self._unfinished = frozenset()
        return [event for event in page.events if wanted.has(event.body)]
