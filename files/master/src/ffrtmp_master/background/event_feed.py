"""The event feed, which reads events once, buffers them, and delivers them to all subscribers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import islice
from uuid import UUID

from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, AsyncLoop, Pacing
from ffrtmp_shared.models import JobEvent
from sqlalchemy import Connection

from ffrtmp_master.store import events
from ffrtmp_master.store.availability import UNAVAILABLE
from ffrtmp_master.store.epochs import History
from ffrtmp_master.store.events import EVERYTHING, Event, EventFilter, EventPage, FeedStart
from ffrtmp_master.store.positions import START, Position
from ffrtmp_master.store.reader import Reader

# The maximum time in seconds between two polls. Events of other masters, and of transactions that
# were still open at the previous poll, are read after this time at the latest.
_POLL_INTERVAL_S = 1.0
# The pause in seconds after each poll, which allows a poll to read the events of many commits.
_PAUSE_S = 0.1
_RETRY_PAUSE_MAX_S = 5.0
_STALE_AFTER_S = 60.0
_BUFFERED_EVENTS_MAX = 5000
# The maximum number of ends of runs that a subscriber remembers, so that it delivers them once.
_REMEMBERED_ENDS_MAX = 1000


class EventFeed:
    """Polls for events on behalf of all subscribers; it polls only while there are subscribers.

    Events are numbered in the order in which they are read. Subscribers that need events older
    than the buffer read them from the database. Not thread-safe: all calls must come from the same
    event loop.
    """

    def __init__(self, reader: Reader, loops: LoopRegistry) -> None:
        """Create a feed that reads through `reader` and adds its loop to `loops`."""
        self._reader = reader
        status = loops.add("event_feed", stale_after_s=_STALE_AFTER_S)
        self.guard = ItemGuard(status, passed_on=UNAVAILABLE)
        self._loop = AsyncLoop(
            status,
            self._poll,
            Pacing(
                interval_s=_POLL_INTERVAL_S,
                wakeup_pause_s=_PAUSE_S,
                retry_pause_max_s=_RETRY_PAUSE_MAX_S,
            ),
            expected=UNAVAILABLE,
        )
        self._subscribing = asyncio.Lock()
        self._subscribers = 0
        self._changed = asyncio.Event()
        self._buffer: deque[Event] = deque()
        self._dropped = 0
        self._unfinished: set[UUID] = set()
        self.history = History(())
        self.place = START
        self.is_closed = False
        # The number of times that the database was replaced by a backup.
        self.replacements = 0

    def __len__(self) -> int:
        """Return the number of subscribers."""
        return self._subscribers

    @asynccontextmanager
    async def subscribe(
        self, event_filter: EventFilter, after: FeedStart | None
    ) -> AsyncIterator["EventSubscriber"]:
        """Subscribe for the duration of the context.

        If `after` is a position with the epochs in which it was read, all events after it are
        delivered; if None, only new events.
        """
        async with self._subscribing:
            await self._start()
            self._subscribers += 1
        try:
            yield EventSubscriber(self, self._reader, event_filter, after)
        finally:
            self._subscribers -= 1

    def wake(self) -> None:
        """Poll soon. Called after a transaction has been committed."""
        self._loop.wake()

    def close(self) -> None:
        """End all subscriptions. Called at shutdown."""
        self.is_closed = True
        self._changed.set()
        self._loop.cancel()

    @property
    def end(self) -> int:
        """The number of events read so far."""
        return self._dropped + len(self._buffer)

    def since(self, number: int) -> list[Event] | None:
        """Return the events from `number` on, or None if the first is no longer in the buffer."""
        if number < self._dropped:
            return None
        return list(islice(self._buffer, number - self._dropped, None))

    def watch_runs(self, runs: Iterable[UUID]) -> None:
        """Report the ends of `runs` in addition to those of the runs already watched."""
        self._unfinished.update(runs)

    async def more_than(self, number: int, timeout_s: float) -> bool:
        """Wait up to `timeout_s` seconds until more than `number` events have been read.

        Returns whether more than `number` events have been read.
        """
        if self.end <= number and not self.is_closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout_s)
        return self.end > number

    async def _start(self) -> None:
        if self._loop.is_running or self.is_closed:
            return
        await self._begin()
        self._loop.start()

    async def _begin(self) -> None:
        """Begin to read events after the newest one."""
        self.history, self.place = await self._reader.read(events.feed_start)
        self._dropped = self.end
        self._buffer.clear()
        self._unfinished.clear()

    async def _poll(self) -> AfterPass:
        """Read the next page of events. The loop ends when there are no subscribers."""
        if not self._subscribers and not self._subscribing.locked():
            return AfterPass.END
        position, unfinished = self.place, frozenset(self._unfinished)

        def query(connection: Connection) -> EventPage:
            return events.page_of_events(connection, position, EVERYTHING, unfinished, self.guard)

        page = await self._reader.read(query)
        if not page.history.continues(self.history, position):
            # The positions of the subscribers are not comparable with those of this database.
            self.replacements += 1
            await self._begin()
            self._changed.set()
            self._changed = asyncio.Event()
            return AfterPass.PAUSE
        self.history = page.history
        self.place = page.end
        self._unfinished -= unfinished - page.unfinished
        self._unfinished |= page.unfinished
        if page.events:
            self._buffer.extend(page.events)
            while len(self._buffer) > _BUFFERED_EVENTS_MAX:
                self._buffer.popleft()
                self._dropped += 1
            self._changed.set()
            self._changed = asyncio.Event()
        return AfterPass.PAUSE if page.is_last else AfterPass.REPEAT


class EventSubscriber:
    """A subscriber to the event feed. Each subscriber reads events at its own rate.

    Attributes:
        history: The epochs of the database when the latest events were read. A new epoch may begin
            at any time, for example when the database server is restarted.
    """

    def __init__(
        self,
        feed: EventFeed,
        reader: Reader,
        event_filter: EventFilter,
        after: FeedStart | None,
    ) -> None:
        """Create a subscriber. If the filter names a run, the end of that run is always reported.

        Args:
            feed: The feed that reads new events.
            reader: Reads events that are no longer in the buffer.
            event_filter: Selects the events to deliver.
            after: The position after which events are delivered, and the epochs of the database
                when it was read; None for only new events.
        """
        self._feed = feed
        self._reader = reader
        self._filter = event_filter
        self._position = feed.place if after is None else after.place
        self.history = feed.history if after is None else after.history
        self._unfinished = frozenset(() if event_filter.run_id is None else (event_filter.run_id,))
        # The number of the next event to read from the feed; None while reading from the database.
        self._number: int | None = feed.end
        if after is not None or self._unfinished:
            self._number = None
        self._is_resuming = after is not None
        # The latest ends of runs that were read from the database, by run and position.
        self._ends = deque[tuple[UUID | None, Position]](maxlen=_REMEMBERED_ENDS_MAX)
        self._replacements = feed.replacements

    async def next(self, timeout_s: float) -> list[Event] | None:
        """Wait up to `timeout_s` seconds for events.

        Returns the new events, an empty list if there are none, or None if the feed is closed or
        the database was replaced by a backup.
        """
        if self._is_over():
            return None
        if self._number is None:
            return await self._catch_up()
        has_more = await self._feed.more_than(self._number, timeout_s)
        if self._is_over():
            return None
        if not has_more:
            return []
        events_read = self._feed.since(self._number)
        if events_read is None:
            return await self._catch_up()
        self._number += len(events_read)
        self.history = self._feed.history
        fresh = [event for event in events_read if self._is_fresh(event)]
        self._position = max([self._position, *(event.place for event in events_read)])
        return fresh

    def _is_over(self) -> bool:
        return self._feed.is_closed or self._feed.replacements != self._replacements

    def _is_fresh(self, event: Event) -> bool:
        """Return whether an event matches the filter and was not delivered while catching up."""
        if isinstance(event.body, JobEvent):
            was_delivered = event.place <= self._position
        else:
            # The end of a run has the same position as a transition, which may have been delivered
            # without it.
            was_delivered = (event.body.run_id, event.place) in self._ends
        return self._filter.has(event.body) and not was_delivered

    async def _catch_up(self) -> list[Event] | None:
        # Events that the feed reads from now on may also be in the page, but no event is missed.
        number = self._feed.end
        after, event_filter, unfinished = self._position, self._filter, self._unfinished
        is_resuming, guard = self._is_resuming, self._feed.guard

        def query(connection: Connection) -> EventPage:
            # The end of a run has the position of its last transition, but may not have been
            # delivered with it.
            last = events.run_at(connection, after) if is_resuming else None
            watched = unfinished if last is None else unfinished | {last}
            return events.page_of_events(connection, after, event_filter, watched, guard)

        page = await self._reader.read(query)
        if not page.history.continues(self.history, after):
            # The database was replaced, which the feed may not have detected yet.
            return None
        self.history = page.history
        self._is_resuming = False
        self._position, self._unfinished = page.end, page.unfinished
        self._number = None
        if page.is_last:
            self._number = number
            self._feed.watch_runs(page.unfinished)
            self._unfinished = frozenset()
        found = [event for event in page.events if event_filter.has(event.body)]
        self._ends.extend(
            (event.body.run_id, event.place)
            for event in found
            if not isinstance(event.body, JobEvent)
        )
        return found
