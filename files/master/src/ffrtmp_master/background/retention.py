"""Retention of jobs, artifacts and content: removal in steps that are short for other callers."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.clock import Clock
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import retention
from ffrtmp_master.store.content.factory import ContentStores
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.retention import Batch
from ffrtmp_master.store.writer import Writer, WriterClosedError

_log = logging.getLogger(__name__)

_EVERY_S = 300.0
_CONTENT_EVERY_S = 3600.0

Remove = Callable[[Connection, int], Batch]
"""Removes at most so many of something."""


class AdaptiveBatchSize:
    """How much to remove at a time: as much as takes about 20 ms, so that 100 ms are never met."""

    AIM_S = 0.02
    MOST = 2000

    def __init__(self) -> None:
        """Begin with little."""
        self.size = 8

    def adjust(self, duration_s: float) -> None:
        """Learn how long the last step took."""
        fitting = int(self.size * self.AIM_S / max(duration_s, 1e-6))
        # What follows may be larger than what was: the size grows slowly and falls at once.
        self.size = min(max(fitting, 1), self.size * 2, self.MOST)


@dataclass
class Removed:
    """What one look removed, and how long its longest step took."""

    jobs: int = 0
    artifacts: int = 0
    contents: int = 0
    longest_step_s: float = 0.0


class RetentionLoop:
    """Removes finished jobs, artifacts and content that the settings no longer want."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        reader: Reader,
        writer: Writer,
        content_stores: ContentStores,
    ) -> None:
        """Create the loop; `running` starts it.

        Args:
            settings: How long jobs and artifacts are kept, and how many bytes of artifacts.
            clock: The clock that ages are measured by.
            reader: Reads the database.
            writer: Removes rows where the database has one writer.
            content_stores: The stores of artifacts and sources.
        """
        self._settings = settings
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._content_stores = content_stores
        self._content_checked_s = time.monotonic()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop while the context lasts."""
        task = asyncio.create_task(self._loop())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                removed = await self.run_once()
                is_due = time.monotonic() - self._content_checked_s >= _CONTENT_EVERY_S
                if is_due or removed.jobs or removed.artifacts:
                    self._content_checked_s = time.monotonic()
                    removed.contents = await self._content_stores.remove_unused()
            except WriterClosedError:
                return
            except (SQLAlchemyError, OSError):
                _log.exception("expired data could not be removed; trying again")
            else:
                if removed.jobs or removed.artifacts or removed.contents:
                    _log.info("removed expired data", extra=vars(removed))

    async def run_once(self) -> Removed:
        """Remove the rows that are due; their content goes once nothing refers to it."""
        settings = self._settings
        removed = Removed()
        if settings.jobs_keep_days is not None:
            before = self._clock() - timedelta(days=settings.jobs_keep_days)
            removed.jobs = await self._in_steps(
                removed, lambda c, at_most: retention.remove_jobs(c, before, at_most)
            )
        if settings.artifacts_keep_days is not None:
            oldest = self._clock() - timedelta(days=settings.artifacts_keep_days)
            removed.artifacts = await self._in_steps(
                removed, lambda c, at_most: retention.remove_artifacts(c, oldest, at_most)
            )
        if settings.artifacts_max_bytes is not None:
            removed.artifacts += await self._remove_beyond(settings.artifacts_max_bytes, removed)
        return removed

    async def _remove_beyond(self, max_bytes: int, removed: Removed) -> int:
        excess_bytes = await self._reader.read(retention.artifacts_bytes) - max_bytes
        if excess_bytes <= 0:
            return 0

        def remove(connection: Connection, at_most: int) -> Batch:
            nonlocal excess_bytes
            batch = retention.remove_oldest_artifacts(connection, excess_bytes, at_most)
            excess_bytes -= batch.freed_bytes
            return batch

        return await self._in_steps(removed, remove)

    async def _in_steps(self, removed: Removed, remove: Remove) -> int:
        """Remove all that is due; after each step the others have the database for as long."""
        pace = AdaptiveBatchSize()
        total, is_last = 0, False
        while not is_last:
            batch, took_s = await self._step(remove, pace.size)
            removed.longest_step_s = max(removed.longest_step_s, took_s)
            total += batch.removed
            is_last = batch.is_last
            pace.adjust(took_s)
            if not is_last:
                await asyncio.sleep(took_s)
        return total

    async def _step(self, remove: Remove, at_most: int) -> tuple[Batch, float]:
        """Remove some, and say how long that took; the one writer is held only where it must be."""
        beside = self._content_stores.writing

        def timed(connection: Connection) -> tuple[float, Batch]:
            began_s = time.monotonic()
            retention.allow_async_commit(connection)
            return began_s, remove(connection, at_most)

        def step_beside(engine: Engine) -> tuple[float, Batch]:
            with engine.begin() as connection:
                return timed(connection)

        if beside is None:
            began_s, batch = await self._writer.write(lambda work: timed(work.connection))
        else:
            began_s, batch = await asyncio.to_thread(step_beside, beside)
        return batch, time.monotonic() - began_s
