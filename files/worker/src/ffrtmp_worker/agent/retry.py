"""Retry of requests to the master, with exponential backoff, until the agent is stopped."""

import logging
import threading
from collections.abc import Callable

from ffrtmp_shared.client import MasterRefusedError, MasterUnreachableError
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

_log = logging.getLogger(__name__)

_CREDENTIALS_REFUSED = (401, 403)


def is_temporary(error: BaseException) -> bool:
    """Return whether another call may succeed, for example once credentials are repaired."""
    if isinstance(error, MasterRefusedError):
        return error.is_temporary or error.problem.status in _CREDENTIALS_REFUSED
    return isinstance(error, MasterUnreachableError)


def retry_until_answered(
    stopped: threading.Event, should_retry: Callable[[BaseException], bool] = is_temporary
) -> Retrying:
    """Return a caller that repeats calls after temporary failures, with pauses of up to 30 s.

    The caller raises tenacity's RetryError if a call fails after `stopped` has been set. It raises
    a permanent MasterRefusedError immediately, because repeating the call would not help.

    Args:
        stopped: The event after which no call is repeated.
        should_retry: A function that returns whether to repeat a call that raised an error.
    """
    return Retrying(
        retry=retry_if_exception(should_retry),
        # The random part prevents the agents of a farm from all retrying at the same moment.
        wait=wait_exponential(multiplier=0.5, max=30) + wait_random(0, 0.5),
        stop=stop_when_event_set(stopped),
        sleep=sleep_using_event(stopped),
        before_sleep=before_sleep_log(_log, logging.WARNING),
    )
