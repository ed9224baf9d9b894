"""Deadlines, and the repetition of calls while the master is unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import RefusedError, UnreachableError

T = TypeVar("T")

_LONGEST_PAUSE_S = 5.0


class Deadline:
    """A point in time at which a wait ends."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set the deadline to `seconds` from now."""
        self._clock = clock
        self._sleep = sleep
        self._at = clock() + seconds

    @property
    def is_over(self) -> bool:
        """Return whether the deadline has passed."""
        return self._clock() >= self._at

    def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, but not beyond the deadline."""
        self._sleep(max(0.0, min(seconds, self._at - self._clock())))


def persist(call: Callable[[], T], deadline: Deadline) -> T:
    """Repeat a call while the master is unavailable, until the deadline.

    Args:
        call: Function that sends a request to the master.
        deadline: Time after which a failed call is not repeated.

    Returns:
        The return value of the first successful call.

    Raises:
        UnreachableError, RefusedError: The call still fails at the deadline.
        ApiError: The call failed for a reason that a retry does not remove.
    """
    pause_s = 0.5
    while True:
        try:
            return call()
        except UnreachableError:
            if deadline.is_over:
                raise
        except RefusedError as refused:
            if deadline.is_over or not refused.is_temporary:
                raise
        deadline.pause(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
