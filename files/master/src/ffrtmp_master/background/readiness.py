"""Readiness of the master: whether it can serve, write to its database, and maintain leases."""

import asyncio
import time

from ffrtmp_shared.loop_registry import LoopRegistry
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.store import migrate
from ffrtmp_master.store.availability import is_full, is_read_only
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_master.store.writer import Writer

# The time in seconds for which the result of a check is used again. The route needs no token, so
# its load on the database must not depend on the number of requests.
_CACHE_TTL_S = 1.0
_CHECK_TIMEOUT_S = 5.0
_TIMED_OUT = f"the database did not complete a read and a write in {_CHECK_TIMEOUT_S:g} s"

# This statement changes nothing, but a read-only server refuses it.
_WRITE_NOTHING = text("UPDATE alembic_version SET version_num = version_num WHERE false")
# A file may be on a full disk or on a file system that has become read-only, which only a real
# write detects. The application does not use the number, which is in the header of the file.
_WRITE_HEADER = text("PRAGMA user_version = 1")


class NotReadyError(Exception):
    """The master is not ready; the message is the reason."""


class Readiness:
    """Checks whether the master is ready. Not thread-safe: use it in one event loop."""

    def __init__(self, reader: Reader, writer: Writer, loops: LoopRegistry) -> None:
        """Create the check.

        Args:
            reader: Reads the database.
            writer: Writes the database.
            loops: The registry of the master's loops.
        """
        self._reader = reader
        self._writer = writer
        self._loops = loops
        self._lock = asyncio.Lock()
        self._checked_at_s = -_CACHE_TTL_S
        self._revision = ""
        self._reason = ""

    async def check(self) -> str:
        """Return the revision of the database's schema.

        Concurrent calls share one check, whose result is used again for a second.

        Raises:
            NotReadyError: The database cannot be read or written, its schema has another revision,
                or a loop that leases depend on is stalled.
        """
        async with self._lock:
            if time.monotonic() - self._checked_at_s >= _CACHE_TTL_S:
                self._reason = ""
                try:
                    async with asyncio.timeout(_CHECK_TIMEOUT_S):
                        self._revision = await self._check_now()
                except NotReadyError as error:
                    self._reason = str(error)
                except TimeoutError:
                    self._reason = _TIMED_OUT
                self._checked_at_s = time.monotonic()
        if self._reason:
            raise NotReadyError(self._reason)
        return self._revision

    async def _check_now(self) -> str:
        try:
            revision = await self._reader.read(migrate.revision)
        except SQLAlchemyError as error:
            raise NotReadyError("the database does not respond") from error
        if revision != migrate.head():
            raise NotReadyError(
                f"the schema has revision {revision}, not {migrate.head()};"
                " run ffrtmp-master migrate"
            )
        try:
            await self._writer.write(_write)
        except (SQLAlchemyError, OSError) as error:
            raise NotReadyError(_cause(error)) from error
        for status in self._loops.stalled_essentials():
            raise NotReadyError(
                f"the loop {status.name}, on which leases depend, has not completed for"
                f" {status.age_s:.0f} s (loop_max_age_s); see the log of the master"
            )
        return str(revision)


def _write(work: UnitOfWork) -> None:
    is_file = work.connection.dialect.name == "sqlite"
    work.connection.execute(_WRITE_HEADER if is_file else _WRITE_NOTHING)


def _cause(error: SQLAlchemyError | OSError) -> str:
    if is_read_only(error):
        return "the database is read-only"
    if is_full(error):
        return "the disk of the database is full"
    return "the database cannot be written"
