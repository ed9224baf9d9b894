"""What time it is; a parameter wherever it matters, so that tests can set it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Something that returns the present moment in UTC."""


def utc_now() -> datetime:
    """Return the present moment in UTC, as this host's clock has it."""
    return datetime.now(UTC)


class SteadyClock:
    """A clock that goes on evenly from a moment, whatever happens to the host's clock.

    Leases are told by it: a host that sets its clock must not end the work of all agents.
    """

    def __init__(self, moment: datetime) -> None:
        """Start at `moment`, which is now."""
        self._moment = moment
        self._since_s = time.monotonic()

    def __call__(self) -> datetime:
        """Return the present moment in UTC."""
        return self._moment + timedelta(seconds=time.monotonic() - self._since_s)

    def set(self, moment: datetime) -> timedelta:
        """Go on from `moment`, which is now; return how far the clock was put forward."""
        step = moment - self()
        self._moment, self._since_s = moment, time.monotonic()
        return step
