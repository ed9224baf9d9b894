"""How the agent tries again what the master did not answer: ever more slowly, until stopped."""

import logging
import threading

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


def retry_until_answered(stopped: threading.Event) -> Retrying:
    """Call again, at most half a minute later, what failed for a time only.

    Raises tenacity's RetryError once `stopped` is set and the last call failed, and at once
    what another call would not change: a MasterRefusedError for good.
    """
    return Retrying(
        retry=retry_if_exception(_is_temporary),
        # The random part keeps the agents of a farm from all coming back at one moment.
        wait=wait_exponential(multiplier=0.5, max=30) + wait_random(0, 0.5),
        stop=stop_when_event_set(stopped),
        sleep=sleep_using_event(stopped),
        before_sleep=before_sleep_log(_log, logging.WARNING),
    )


def _is_temporary(error: BaseException) -> bool:
    """Whether another call may end otherwise. An operator can mend credentials meanwhile."""
    if isinstance(error, MasterRefusedError):
        return error.is_temporary or error.problem.status in _CREDENTIALS_REFUSED
    return isinstance(error, MasterUnreachableError)
