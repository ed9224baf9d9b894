"""Clocks, which are passed as parameters so that tests can set the time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""A function that returns the current time in UTC."""


def utc_now() -> datetime:
    """Return the current time of the host's clock in UTC."""
    return datetime.now(UTC)


class SteadyClock:
    """A monotonic clock that does not change when the host's clock is set.

    This clock determines when leases expire. If the host's clock determined that, setting it
    forward would end all attempts.
    """

    def __init__(self, now: datetime) -> None:
        """Start the clock at the time `now`."""
        self._start = now
        self._since_s = time.monotonic()

    def __call__(self) -> datetime:
        """Return the current time in UTC."""
        return self._start + timedelta(seconds=time.monotonic() - self._since_s)

    def set(self, now: datetime) -> timedelta:
        """Set the clock to `now`; return how far this moves it forward (negative: backward)."""
        step = now - self()
        self._start, self._since_s = now, time.monotonic()
        return step
