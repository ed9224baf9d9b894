"""Space on the disk of the master, a part of which is reserved for results.

Requests that add data which is not needed to end a running job are refused while less space is free
than the settings reserve, or while the database is larger than they allow. Agents can then still
report their results.
"""

import asyncio
import shutil
import time
from pathlib import Path

from sqlalchemy import Connection, text

from ffrtmp_master.settings import SQLITE_PREFIX, Settings
from ffrtmp_master.store.errors import InsufficientSpaceError
from ffrtmp_master.store.reader import Reader

# A system call for each submission would be measurable.
_DISK_READ_EVERY_S = 0.5
# Reading the size of a large PostgreSQL database takes some milliseconds.
_DATABASE_READ_EVERY_S = 10.0
# Other masters may store as much at the same time, which only the size of the database shows.
_DATABASE_READ_AFTER_BYTES = 16 * 1024 * 1024
_DATABASE_READ_PAUSE_S = 0.5


class SpaceGuard:
    """Refuses requests that would use the space that is reserved for results."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        """Guard the disk of `settings.data_dir` and the database that `reader` reads."""
        self._settings = settings
        self._reader = reader
        self._folders = _folders(settings)
        self._free_bytes = 0
        self._disk_read_s = -_DISK_READ_EVERY_S
        self._database_bytes = 0
        self._database_read_s = -_DATABASE_READ_EVERY_S
        self._database_reading = asyncio.Lock()
        # The bytes of uploads since the size of the database was read; it does not contain them.
        self._received_bytes = 0

    async def receive(self, size_bytes: int) -> None:
        """Count a piece of an upload and check that there is space for it.

        Args:
            size_bytes: The size of the piece, which is going to be stored.

        Raises:
            InsufficientSpaceError: The upload would use space that is reserved for results.
        """
        if self._settings.is_shared:
            self._received_bytes += size_bytes
        await self.check()

    def _check_disk(self, added_bytes: int) -> None:
        """Check that enough space stays free on the disk of the files.

        Args:
            added_bytes: The number of bytes that the request will write, as far as it is known.

        Raises:
            InsufficientSpaceError: Less than the reserved space would be free.
        """
        reserved_bytes = self._settings.reserved_bytes
        if not reserved_bytes or not self._folders:
            return
        if time.monotonic() - self._disk_read_s >= _DISK_READ_EVERY_S:
            self._free_bytes = min(shutil.disk_usage(folder).free for folder in self._folders)
            self._disk_read_s = time.monotonic()
        if self._free_bytes - added_bytes < reserved_bytes:
            raise InsufficientSpaceError(
                f"{self._free_bytes} bytes are free on the disk of the master, of which "
                f"{reserved_bytes} are reserved for results (master_reserved_bytes); remove "
                "old sources and artifacts, or enlarge the disk"
            )

    async def check(self, added_bytes: int = 0) -> None:
        """Check that the disk and the database have space for more data.

        Args:
            added_bytes: The number of bytes that the request will write, as far as it is known.

        Raises:
            InsufficientSpaceError: The request would use space that is reserved for results.
        """
        self._check_disk(added_bytes)
        max_bytes = self._settings.database_max_bytes
        if max_bytes is None:
            return
        if self._is_size_old():
            async with self._database_reading:
                # Another request may have read the size in the meantime.
                if self._is_size_old():
                    await self._read_size()
        used_bytes = self._database_bytes + self._received_bytes
        if used_bytes + added_bytes > max_bytes:
            raise InsufficientSpaceError(
                f"the database has {used_bytes} bytes, including running uploads, and only results "
                f"may enlarge it beyond {max_bytes} (master_database_max_bytes); remove old jobs, "
                "sources and artifacts, or raise the limit"
            )

    def _is_size_old(self) -> bool:
        age_s = time.monotonic() - self._database_read_s
        return age_s >= _DATABASE_READ_EVERY_S or (
            self._received_bytes >= _DATABASE_READ_AFTER_BYTES and age_s >= _DATABASE_READ_PAUSE_S
        )

    async def _read_size(self) -> None:
        # Bytes that are received during the query may be missing from its answer.
        counted_bytes = self._received_bytes
        self._database_bytes = await self._reader.read(_used_bytes)
        self._database_read_s = time.monotonic()
        self._received_bytes -= counted_bytes


def _folders(settings: Settings) -> tuple[Path, ...]:
    """Return the folders whose disks the master fills."""
    if settings.is_shared:
        # The database contains everything, and its disk may be that of another host.
        return ()
    database = Path(settings.database_url.removeprefix(SQLITE_PREFIX)).parent
    return tuple(dict.fromkeys((settings.data_dir, database)))


def _used_bytes(connection: Connection) -> int:
    """Return the size of the database without the free pages of an SQLite file."""
    if connection.dialect.name != "sqlite":
        query = text("SELECT pg_database_size(current_database())")
        return int(connection.execute(query).scalar_one())
    pages, free_pages, page_bytes = (
        int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free_pages) * page_bytes
