"""The log feed, which wakes clients that follow the logs of attempts."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.store import logs
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.logs import Key, LogStatus
from ffrtmp_master.store.reader import Reader

_log = logging.getLogger(__name__)

# The maximum time in seconds until text that another master stored, or the end of an attempt, is
# detected.
_POLL_INTERVAL_S = 1.0
_LOGS_PER_QUERY = 500


class LogSubscriber:
    """A subscriber to a log, which waits until the log has changed since it was last read."""

    __slots__ = ("_event", "key", "seen")

    def __init__(self, key: Key) -> None:
        """Create a subscriber to the log of the attempt `key`."""
        self.key = key
        self.seen = LogStatus(-1, is_running=True)
        self._event = asyncio.Event()

    def wake(self) -> None:
        """End the wait in `sleep`."""
        self._event.set()

    async def sleep(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` seconds for a wake-up; return whether there was one."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout_s)
        is_woken = self._event.is_set()
        self._event.clear()
        return is_woken


class LogFeed:
    """Polls the followed logs in short transactions while there are subscribers.

    When this master stores text, the subscribers are woken immediately. Not thread-safe: all calls
    must come from the same event loop.
    """

    def __init__(self, reader: Reader) -> None:
        """Create a feed that reads through `reader`."""
        self._reader = reader
        self._subscribers: dict[Key, set[LogSubscriber]] = {}
        self._task: asyncio.Task[None] | None = None
        self.is_closed = False

    def __len__(self) -> int:
        """Return the number of subscribers."""
        return sum(map(len, self._subscribers.values()))

    @contextmanager
    def subscribe(self, key: Key) -> Iterator[LogSubscriber]:
        """Subscribe to the log of an attempt for the duration of the context."""
        subscriber = LogSubscriber(key)
        self._subscribers.setdefault(key, set()).add(subscriber)
        if self._task is None and not self.is_closed:
            self._task = asyncio.create_task(self._poll())
        try:
            yield subscriber
        finally:
            of_key = self._subscribers[key]
            of_key.discard(subscriber)
            if not of_key:
                del self._subscribers[key]

    def wake(self, key: Key) -> None:
        """Wake the subscribers of a log that has grown."""
        for subscriber in self._subscribers.get(key, ()):
            subscriber.wake()

    def close(self) -> None:
        """End all subscriptions. Called at shutdown."""
        self.is_closed = True
        for key in self._subscribers:
            self.wake(key)
        if self._task is not None:
            self._task.cancel()

    async def _poll(self) -> None:
        try:
            while self._subscribers:
                try:
                    await self._poll_once()
                except SQLAlchemyError as error:
                    _log.warning("could not poll the followed logs; retrying: %s", error)
                await asyncio.sleep(_POLL_INTERVAL_S)
        finally:
            self._task = None

    async def _poll_once(self) -> None:
        for batch in chunks(list(self._subscribers), _LOGS_PER_QUERY):
            found = await self._reader.read(partial(logs.log_statuses, keys=batch))
            for key, status in found.items():
                for subscriber in self._subscribers.get(key, ()):
                    if subscriber.seen != status:
                        subscriber.wake()
