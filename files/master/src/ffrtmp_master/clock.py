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

    def __init__(self, moment: datetime) -> None:
        """Start the clock; `moment` is the current time."""
        self._moment = moment
        self._since_s = time.monotonic()

    def __call__(self) -> datetime:
        """Return the current time in UTC."""
        return self._moment + timedelta(seconds=time.monotonic() - self._since_s)

    def set(self, moment: datetime) -> timedelta:
        """Set the clock to `moment`; return by how much that advances it."""
        step = moment - self()
        self._moment, self._since_s = moment, time.monotonic()
        return step
