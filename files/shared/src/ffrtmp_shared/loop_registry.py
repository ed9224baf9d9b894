"""Registry of the periodic loops of a process: when each last completed, and what failed."""

import threading
import time
from collections.abc import Callable

import msgspec


class LoopReading(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a running loop.

    Attributes:
        name: The name of the loop.
        last_success_unix_s: The Unix time of its last complete pass. Before the first one, the time
            at which the loop was started.
        failures: The number of passes and items that failed since the process started.
        items_set_aside: The number of items that are set aside because they failed repeatedly.
        stale_after_s: The time without a complete pass after which the loop counts as stalled.
    """

    name: str
    last_success_unix_s: float
    failures: int
    items_set_aside: int
    stale_after_s: float


class LoopStatus:
    """The record of one loop. Thread-safe.

    A loop may be started and stopped repeatedly, and several instances of it may run; the counts
    continue. While no instance runs, the loop is neither reported nor stale.
    """

    def __init__(self, name: str, *, stale_after_s: float, is_essential: bool = False) -> None:
        """Create the record of a loop that is not running; see `LoopRegistry.add`."""
        self.name = name
        self.stale_after_s = stale_after_s
        self.is_essential = is_essential
        self._lock = threading.Lock()
        self._instances = 0
        self._last_success_unix_s = 0.0
        self._last_success_s = 0.0
        self._failures = 0
        self._count_items: Callable[[], int] = lambda: 0

    def begin(self) -> None:
        """Record that an instance of the loop was started."""
        with self._lock:
            self._instances += 1
            if self._instances == 1:
                self._set_success()

    def end(self) -> None:
        """Record that an instance of the loop was stopped."""
        with self._lock:
            self._instances -= 1

    def succeed(self) -> None:
        """Record a complete pass, or progress in a pass that may take arbitrarily long."""
        with self._lock:
            self._set_success()

    def fail(self) -> None:
        """Record that a pass or an item failed."""
        with self._lock:
            self._failures += 1

    def watch_items(self, count_items: Callable[[], int]) -> None:
        """Report the number of set-aside items that `count_items` returns."""
        self._count_items = count_items

    @property
    def is_running(self) -> bool:
        """Return whether an instance of the loop is running."""
        return self._instances > 0

    @property
    def age_s(self) -> float:
        """Return the time since the last complete pass, in seconds, or since the start."""
        return time.monotonic() - self._last_success_s

    @property
    def is_stale(self) -> bool:
        """Return whether the loop is running but has not completed for `stale_after_s`."""
        return self.is_running and self.age_s > self.stale_after_s

    def read(self) -> LoopReading:
        """Return the state of the loop."""
        items_set_aside = self._count_items()
        with self._lock:
            return LoopReading(
                name=self.name,
                last_success_unix_s=self._last_success_unix_s,
                failures=self._failures,
                items_set_aside=items_set_aside,
                stale_after_s=self.stale_after_s,
            )

    def _set_success(self) -> None:
        self._last_success_unix_s = time.time()
        self._last_success_s = time.monotonic()


class LoopRegistry:
    """The loops of a process. Thread-safe; every component that starts a loop receives it."""

    def __init__(self) -> None:
        """Create an empty registry."""
        self._lock = threading.Lock()
        self._loops: dict[str, LoopStatus] = {}

    def add(self, name: str, *, stale_after_s: float, is_essential: bool = False) -> LoopStatus:
        """Return the record of the loop `name`, which is created if it does not exist.

        Args:
            name: The name of the loop, which becomes the value of the label `loop`.
            stale_after_s: The time without a complete pass after which the loop counts as stalled,
                in seconds. It must exceed the interval of the loop and the duration of a pass.
            is_essential: Whether the process is not ready while the loop is stalled.

        Returns:
            The record.
        """
        with self._lock:
            status = self._loops.get(name)
            if status is None:
                status = LoopStatus(name, stale_after_s=stale_after_s, is_essential=is_essential)
                self._loops[name] = status
            return status

    def find(self, name: str) -> LoopStatus | None:
        """Return the record of the loop `name`, or None if no such loop was added."""
        with self._lock:
            return self._loops.get(name)

    def names(self) -> tuple[str, ...]:
        """Return the names of all loops that were added, running or not."""
        with self._lock:
            return tuple(self._loops)

    def read(self) -> tuple[LoopReading, ...]:
        """Return the state of every running loop."""
        with self._lock:
            running = [status for status in self._loops.values() if status.is_running]
        return tuple(status.read() for status in running)

    def stalled_essentials(self) -> tuple[LoopStatus, ...]:
        """Return the essential loops that are stalled."""
        with self._lock:
            loops = tuple(self._loops.values())
        return tuple(status for status in loops if status.is_essential and status.is_stale)
