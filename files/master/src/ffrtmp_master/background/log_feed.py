"""The log feed, which wakes clients that follow the logs of attempts."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, AsyncLoop, Pacing

from ffrtmp_master.store import logs
from ffrtmp_master.store.availability import UNAVAILABLE
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.logs import Key, LogStatus
from ffrtmp_master.store.reader import Reader

# The maximum time in seconds until text that another master stored, or the end of an attempt, is
# detected.
_POLL_INTERVAL_S = 1.0
_RETRY_PAUSE_MAX_S = 5.0
_STALE_AFTER_S = 60.0
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

    def __init__(self, reader: Reader, loops: LoopRegistry) -> None:
        """Create a feed that reads through `reader` and adds its loop to `loops`."""
        self._reader = reader
        self._subscribers: dict[Key, set[LogSubscriber]] = {}
        status = loops.add("log_feed", stale_after_s=_STALE_AFTER_S)
        self._logs = ItemGuard(status, passed_on=UNAVAILABLE)
        self._loop = AsyncLoop(
            status,
            self._poll,
            Pacing(interval_s=_POLL_INTERVAL_S, retry_pause_max_s=_RETRY_PAUSE_MAX_S),
            expected=UNAVAILABLE,
        )
        self.is_closed = False

    def __len__(self) -> int:
        """Return the number of subscribers."""
        return sum(map(len, self._subscribers.values()))

    @contextmanager
    def subscribe(self, key: Key) -> Iterator[LogSubscriber]:
        """Subscribe to the log of an attempt for the duration of the context."""
        subscriber = LogSubscriber(key)
        self._subscribers.setdefault(key, set()).add(subscriber)
        if not self.is_closed:
            self._loop.start()
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
        self._loop.cancel()

    async def _poll(self) -> AfterPass:
        """Wake the subscribers of changed logs. The loop ends when there are no subscribers."""
        if not self._subscribers:
            return AfterPass.END
        for batch in chunks(list(self._subscribers), _LOGS_PER_QUERY):
            await self._logs.run_together(batch, self._wake_changed)
        return AfterPass.PAUSE

    async def _wake_changed(self, keys: Sequence[Key]) -> None:
        found = await self._reader.read(partial(logs.log_statuses, keys=keys))
        for key, status in found.items():
            for subscriber in self._subscribers.get(key, ()):
                if subscriber.seen != status:
                    subscriber.wake()
