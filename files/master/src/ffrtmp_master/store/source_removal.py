"""Removal of single sources, without delaying the writer by the search for their users."""

import asyncio
from collections.abc import Callable
from functools import partial

from ffrtmp_shared.admin import AuditAction

from ffrtmp_master.store import audit, sources
from ffrtmp_master.store.errors import BusyError, ConflictError
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_master.store.writer import Writer

REMOVALS_MAX = 1
"""The maximum number of sources that are removed at the same time."""

_RETRY_AFTER_S = 5


class SourceRemoval:
    """Removes sources that no unfinished run or job names, one at a time.

    The search reads all unfinished jobs, which takes seconds if there are many. It therefore runs
    in a reader. A submission that names the source in the meantime changes the time of its last
    use, and the source is then kept.
    """

    def __init__(self, reader: Reader, writer: Writer) -> None:
        """Search with `reader` and remove with `writer`."""
        self._reader = reader
        self._writer = writer
        self._running: set[asyncio.Task[None]] = set()

    async def remove(self, sha256: str, actor: str, check: Callable[[str | None], None]) -> None:
        """Remove a source and record this in the audit log.

        Args:
            sha256: The digest of the source.
            actor: The name of the token of the request.
            check: A function that raises an exception if `actor` must not remove a source that was
                uploaded with the token of the given name.

        Raises:
            BusyError: Another source is being removed.
            NotFoundError: There is no such source.
            ConflictError: An unfinished run or job names the source, or it was used during the
                removal.
        """
        if len(self._running) >= REMOVALS_MAX:
            raise BusyError("the master is removing another source", _RETRY_AFTER_S)
        # The search continues if the client disconnects. It must count until it ends.
        removal = asyncio.ensure_future(self._remove(sha256, actor, check))
        self._running.add(removal)
        removal.add_done_callback(self._running.discard)
        await asyncio.shield(removal)

    async def _remove(self, sha256: str, actor: str, check: Callable[[str | None], None]) -> None:
        await self._reader.read(lambda c: check(sources.owner_of(c, sha256)))
        used_at = await self._writer.write(
            lambda work: sources.begin_removal(work.connection, sha256, work.now)
        )
        if await self._reader.read(partial(sources.is_needed, sha256=sha256)):
            raise ConflictError(f"an unfinished run or job names the source {sha256}")

        def complete(work: UnitOfWork) -> None:
            check(sources.owner_of(work.connection, sha256))
            if not sources.complete_removal(work.connection, sha256, used_at):
                raise ConflictError(f"the source {sha256} was used while it was being removed")
            audit.record(work.connection, work.now, actor, AuditAction.SOURCE_REMOVED, sha256)

        await self._writer.write(complete)
