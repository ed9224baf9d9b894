"""Who follows the logs of attempts, and waking them when there is more."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice

from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.store import logs
from ffrtmp_master.store.logs import Key, LogStatus
from ffrtmp_master.store.reader import Reader

_log = logging.getLogger(__name__)

# What another master stored, or an attempt that ended, is noticed after so long.
_LOOK_EVERY_S = 1.0
_LOGS_AT_ONCE = 500


class LogSubscriber:
    """One who follows a log: sleeps until it is not as it was seen."""

    __slots__ = ("_bell", "key", "seen")

    def __init__(self, key: Key) -> None:
        """Prepare to follow the log of an attempt."""
        self.key = key
        self.seen = LogStatus(-1, is_running=True)
        self._bell = asyncio.Event()

    def wake(self) -> None:
        """End its sleep."""
        self._bell.set()

    async def sleep(self, longest_s: float) -> bool:
        """Sleep until there is news; return whether there is."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), longest_s)
        is_woken = self._bell.is_set()
        self._bell.clear()
        return is_woken


class LogFeed:
    """Looks for all followers together, in short transactions, while there are any.

    A piece that came to this master wakes its followers at once. For one event loop alone.
    """

    def __init__(self, reader: Reader) -> None:
        """Prepare to look through `reader`."""
        self._reader = reader
        self._followers: dict[Key, set[LogSubscriber]] = {}
        self._task: asyncio.Task[None] | None = None
        self.is_closed = False

    def __len__(self) -> int:
        """Count those who follow."""
        return sum(map(len, self._followers.values()))

    @contextmanager
    def subscribe(self, key: Key) -> Iterator[LogSubscriber]:
        """Follow the log of an attempt while the context lasts."""
        one = LogSubscriber(key)
        self._followers.setdefault(key, set()).add(one)
        if self._task is None and not self.is_closed:
            self._task = asyncio.create_task(self._poll())
        try:
            yield one
        finally:
            of_key = self._followers[key]
            of_key.discard(one)
            if not of_key:
                del self._followers[key]

    def wake(self, key: Key) -> None:
        """Wake who follows this log: there is more."""
        for one in self._followers.get(key, ()):
            one.wake()

    def close(self) -> None:
        """Send everybody home: the master stops."""
        self.is_closed = True
        for key in self._followers:
            self.wake(key)
        if self._task is not None:
            self._task.cancel()

    async def _poll(self) -> None:
        try:
            while self._followers:
                try:
                    await self._poll_once()
                except SQLAlchemyError as error:
                    _log.warning("the logs that are followed could not be looked at: %s", error)
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            self._task = None

    async def _poll_once(self) -> None:
        keys = iter(list(self._followers))
        while piece := list(islice(keys, _LOGS_AT_ONCE)):
            found = await self._reader.read(partial(logs.log_statuses, keys=piece))
            for key, standing in found.items():
                for one in self._followers.get(key, ()):
                    if one.seen != standing:
                        one.wake()
