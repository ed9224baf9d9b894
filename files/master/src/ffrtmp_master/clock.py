"""Clocks. They are passed as parameters, so that tests can set the time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""A function that returns the current time in UTC."""


def utc_now() -> datetime:
    """Return the current time in UTC by the clock of the host."""
    return datetime.now(UTC)


class SteadyClock:
    """A monotonic clock that does not follow changes of the clock of the host.

    It determines when leases expire: a step of the clock of the host must not end all attempts.
    """

    def __init__(self, now: datetime) -> None:
        """Start the clock; `now` is the current time."""
        self._start = now
        self._since_s = time.monotonic()

    def __call__(self) -> datetime:
        """Return the current time in UTC."""
        return self._start + timedelta(seconds=time.monotonic() - self._since_s)

    def set(self, now: datetime) -> timedelta:
        """Set the clock to `now`; return by how much that advances it."""
        step = now - self()
        self._start, self._since_s = now, time.monotonic()
        return step
