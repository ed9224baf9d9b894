"""Authorization of long transfers, whose tokens may become invalid while they are in progress."""

import logging
import time
from collections.abc import AsyncIterator
from typing import TypeVar

from litestar.exceptions import NotAuthorizedException
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.services import Services

T = TypeVar("T")

_log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 8.0
"""The time in seconds after which a transfer checks again that its token is valid.

Together with the time for which a master caches tokens, this is less than 15 s.
"""

QUIET_S = 4.0
"""The idle time in seconds after which a stream continues, so that it checks its token."""


class TokenWatch:
    """Checks the token of a transfer again whenever some time has passed."""

    def __init__(self, services: Services, authorization: str) -> None:
        """Create a watch for a token that has just been checked.

        Args:
            services: The services of the master.
            authorization: The value of the header Authorization.
        """
        self._services = services
        self._authorization = authorization
        self._checked_at_s = time.monotonic()

    async def is_valid(self) -> bool:
        """Return whether the transfer may continue. Usually, this only compares the time."""
        now_s = time.monotonic()
        if now_s - self._checked_at_s < CHECK_INTERVAL_S:
            return True
        self._checked_at_s = now_s
        try:
            return await self._services.authenticator.is_good(self._authorization)
        except SQLAlchemyError as error:
            # An outage of the database must not interrupt all transfers. The next check is due
            # soon, and no data can be read from the database until then.
            _log.warning("the token of a transfer could not be checked: %s", error)
            return True


def watch_of(services: Services, call: Call) -> TokenWatch:
    """Return a watch for the token of a request."""
    return TokenWatch(services, call.headers.get("authorization", ""))


async def while_valid(watch: TokenWatch, parts: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield the parts of a transfer as long as its token is valid.

    Args:
        watch: The watch for the token.
        parts: The parts.

    Yields:
        The parts.

    Raises:
        NotAuthorizedException: The token has become invalid. A response is then cut off, so that
            the client does not take it for a complete one.
    """
    async for part in parts:
        if not await watch.is_valid():
            raise NotAuthorizedException("the token has become invalid during the transfer")
        yield part
