"""A guard that keeps the failure of one item of a loop from affecting the other items."""

import logging
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ffrtmp_shared.loop_registry import LoopStatus

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=Hashable)

_MAX_ITEMS = 1000


@dataclass(slots=True)
class _FailedItem:
    """An item that failed: how often in succession, and when it may be tried again."""

    failures: int = 0
    retry_at_s: float = 0.0
    tried_at_s: float = 0.0


class ItemGuard:
    """Runs the items of a loop one by one; an item that fails is logged and counted. Thread-safe.

    An item that fails repeatedly is set aside: it is not run until a pause is over, which doubles
    with each further failure. It then gets another try, so it recovers without a restart as soon
    as its cause is gone.
    """

    def __init__(
        self,
        status: LoopStatus,
        *,
        passed_on: tuple[type[Exception], ...] = (),
        tries: int = 3,
        retry_pause_s: float = 60.0,
        retry_pause_max_s: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a guard without failed items.

        Args:
            status: The record of the loop.
            passed_on: Errors of what the loop depends on, such as an unreachable database. They say
                nothing about the item and are raised to the caller.
            tries: The number of successive failures after which an item is set aside.
            retry_pause_s: The first pause of an item that is set aside, in seconds.
            retry_pause_max_s: The longest pause, in seconds.
            clock: The monotonic clock, in seconds.
        """
        self._status = status
        self._passed_on = passed_on
        self._tries = tries
        self._retry_pause_s = retry_pause_s
        self._retry_pause_max_s = retry_pause_max_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: dict[Hashable, _FailedItem] = {}
        status.watch_items(self.count_set_aside)

    def run(self, item: Hashable, work: Callable[[], object]) -> bool:
        """Run `work` for `item` unless the item is set aside.

        Args:
            item: The id of the item, which the log names.
            work: The function to call.

        Returns:
            Whether the work was done.

        Raises:
            Exception: One of the errors that are passed on.
        """
        if not self._is_due(item):
            return False
        try:
            work()
        except self._passed_on:
            raise
        # An unforeseen error of one item must not end the loop that handles all items.
        except Exception as error:
            self._record_failure(item, error)
            return False
        self._record_success(item)
        return True

    async def run_async(self, item: Hashable, work: Callable[[], Awaitable[object]]) -> bool:
        """Await `work` for `item` unless the item is set aside; see `run`."""
        if not self._is_due(item):
            return False
        try:
            await work()
        except self._passed_on:
            raise
        # An unforeseen error of one item must not end the loop that handles all items.
        except Exception as error:
            self._record_failure(item, error)
            return False
        self._record_success(item)
        return True

    async def run_together(
        self, items: Sequence[T], work: Callable[[Sequence[T]], Awaitable[object]]
    ) -> None:
        """Await `work` for all items together. If that fails, await it for each item alone.

        Items that failed before are always handled alone, unless they are set aside.

        Args:
            items: The ids of the items.
            work: The function, which must change nothing if it raises an exception.

        Raises:
            Exception: One of the errors that are passed on.
        """
        with self._lock:
            alone = [item for item in items if item in self._failed]
            together = [item for item in items if item not in self._failed]
        if together:
            try:
                await work(together)
            except self._passed_on:
                raise
            # The error of one item, which is logged with its id below.
            except Exception as error:
                _log.warning("%s: items are handled one by one: %s", self._status.name, error)
                alone = [*together, *alone]
        for item in alone:
            await self.run_async(item, partial(work, [item]))

    def count_set_aside(self) -> int:
        """Return the number of items that are set aside."""
        with self._lock:
            self._forget_vanished()
            return sum(failed.failures >= self._tries for failed in self._failed.values())

    def will_retry(self, item: Hashable) -> bool:
        """Return whether an item failed, but not often enough to be set aside."""
        with self._lock:
            failed = self._failed.get(item)
            return failed is not None and failed.failures < self._tries

    def _is_due(self, item: Hashable) -> bool:
        with self._lock:
            failed = self._failed.get(item)
            if failed is None:
                return True
            now_s = self._clock()
            failed.tried_at_s = now_s
            return now_s >= failed.retry_at_s

    def _record_success(self, item: Hashable) -> None:
        with self._lock:
            failed = self._failed.pop(item, None)
        if failed is not None and failed.failures >= self._tries:
            _log.info("%s: item %s is handled again", self._status.name, item)

    def _record_failure(self, item: Hashable, error: Exception) -> None:
        self._status.fail()
        with self._lock:
            self._forget_vanished()
            # The latest failure is moved to the end, so that the item that failed longest ago is
            # forgotten first when there are too many.
            failed = self._failed.pop(item, None) or _FailedItem()
            while len(self._failed) >= _MAX_ITEMS:
                del self._failed[next(iter(self._failed))]
            self._failed[item] = failed
            failed.failures += 1
            failed.tried_at_s = self._clock()
            pause_s = self._pause_s(failed.failures)
            failed.retry_at_s = failed.tried_at_s + pause_s
        extra = {"loop": self._status.name, "item": str(item)}
        text = f"{self._status.name}: item {item} failed"
        if pause_s:
            text += f" {failed.failures} times and is set aside for {pause_s:g} s"
        _log.error(text, exc_info=error, extra=extra)

    def _pause_s(self, failures: int) -> float:
        beyond = failures - self._tries
        if beyond < 0:
            return 0.0
        # The exponent is limited, so that the power cannot overflow.
        return float(min(self._retry_pause_s * 2 ** min(beyond, 30), self._retry_pause_max_s))

    def _forget_vanished(self) -> None:
        """Forget items that no pass has named for a long time, because they no longer exist."""
        before_s = self._clock() - self._retry_pause_max_s
        vanished = [item for item, failed in self._failed.items() if failed.tried_at_s < before_s]
        for item in vanished:
            del self._failed[item]
