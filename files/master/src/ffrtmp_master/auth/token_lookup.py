"""Lookup of tokens in the database, of which unknown tokens cannot cause arbitrarily many."""

import asyncio
import time
from collections.abc import Sequence

from sqlalchemy import Connection

from ffrtmp_master.store import credentials
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.reader import Reader

# The interval in seconds between the beginnings of two shared lookups.
_INTERVAL_S = 1.0
# The maximum number of tokens of one lookup. It exceeds the default of connections_max, so that all
# agents of a farm can reconnect at the same time.
TOKENS_MAX = 10_000
# SQLite and PostgreSQL limit the number of values in a statement.
_TOKENS_PER_QUERY = 1000


class LookupQueueFullError(Exception):
    """Too many tokens are waiting for the next shared lookup."""


class TokenLookup:
    """Finds the credentials of tokens. Not thread-safe: use it in one event loop."""

    def __init__(self, reader: Reader) -> None:
        """Create a lookup that reads through `reader`."""
        self._reader = reader
        self._waiting: dict[str, asyncio.Future[Credential | None]] = {}
        self._query: asyncio.Task[None] | None = None
        self._queried_at_s = -_INTERVAL_S

    async def find(self, digest: str) -> Credential | None:
        """Return the credential with a digest, using a query of its own."""
        return await self._reader.read(lambda c: credentials.find_by_digest(c, digest))

    async def find_shared(self, digest: str) -> Credential | None:
        """Return the credential with a digest, using a lookup that all callers share.

        At most one such lookup begins in a second. It is used for tokens from load balancers, and
        from addresses that have sent too many unknown ones, so that unknown tokens cost little but
        the valid ones are found.

        Raises LookupQueueFullError.
        """
        future = self._waiting.get(digest)
        if future is None:
            if len(self._waiting) >= TOKENS_MAX:
                raise LookupQueueFullError
            future = self._waiting[digest] = asyncio.get_running_loop().create_future()
        if self._query is None:
            self._query = asyncio.create_task(self._answer_waiting())
        # The future is shared, so a caller that disconnects must not cancel it.
        return await asyncio.shield(future)

    async def _answer_waiting(self) -> None:
        await asyncio.sleep(max(self._queried_at_s + _INTERVAL_S - time.monotonic(), 0.0))
        waiting, self._waiting = self._waiting, {}
        self._query, self._queried_at_s = None, time.monotonic()
        try:
            found = await self._reader.read(lambda c: _find_all(c, list(waiting)))
        # Every caller that waits gets the error.
        except Exception as error:
            for future in waiting.values():
                future.set_exception(error)
                # The error counts as handled even if the caller has disconnected.
                future.exception()
            return
        for digest, future in waiting.items():
            future.set_result(found.get(digest))


def _find_all(connection: Connection, digests: Sequence[str]) -> dict[str, Credential]:
    found: dict[str, Credential] = {}
    for part in chunks(digests, _TOKENS_PER_QUERY):
        found |= credentials.find_by_digests(connection, part)
    return found
