"""Retention: what was kept long enough goes, in steps that keep nobody waiting."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.store import retention
from ffrtmp_master.store.retention import Batch
from ffrtmp_master.store.work import Work
from ffrtmp_master.store.writer import WriterClosedError

if TYPE_CHECKING:
    from ffrtmp_master.farm import Farm

_log = logging.getLogger(__name__)

_EVERY_S = 300.0
_CONTENT_EVERY_S = 3600.0

Remove = Callable[[Connection, int], Batch]
"""Removes at most so many of something."""


class Pace:
    """How much to remove at a time: as much as takes about 30 ms, so that 100 ms are never met."""

    AIM_S = 0.03
    MOST = 2000

    def __init__(self) -> None:
        """Begin with little."""
        self.size = 8

    def took(self, duration_s: float) -> None:
        """Learn how long the last step held the writer."""
        fitting = int(self.size * self.AIM_S / max(duration_s, 1e-6))
        # What follows may be larger than what was: the size grows slowly and falls at once.
        self.size = min(max(fitting, 1), self.size * 2, self.MOST)


@dataclass
class Removed:
    """What one look removed, and how long the longest step held the writer."""

    jobs: int = 0
    artifacts: int = 0
    contents: int = 0
    longest_step_s: float = 0.0


class Retention:
    """Removes finished jobs, artifacts and content that the settings no longer want."""

    def __init__(self, farm: "Farm") -> None:
        """Prepare to look after `farm`."""
        self._farm = farm
        self._looked_for_waste_s = time.monotonic()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look every few minutes while the context lasts."""
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                removed = await self.once()
                is_due = time.monotonic() - self._looked_for_waste_s >= _CONTENT_EVERY_S
                if is_due or removed.jobs or removed.artifacts:
                    self._looked_for_waste_s = time.monotonic()
                    removed.contents = await self._farm.contents.remove_unused()
            except WriterClosedError:
                return
            except (SQLAlchemyError, OSError):
                _log.exception("what is no longer kept could not be removed; trying again")
            else:
                if removed.jobs or removed.artifacts or removed.contents:
                    _log.info("removed what is no longer kept", extra=vars(removed))

    async def once(self) -> Removed:
        """Remove the rows that are due; their content goes once nothing refers to it."""
        farm, settings = self._farm, self._farm.settings
        removed = Removed()
        if settings.jobs_keep_days is not None:
            before = farm.clock() - timedelta(days=settings.jobs_keep_days)
            removed.jobs = await self._in_steps(
                removed, lambda c, at_most: retention.remove_jobs(c, before, at_most)
            )
        if settings.artifacts_keep_days is not None:
            oldest = farm.clock() - timedelta(days=settings.artifacts_keep_days)
            removed.artifacts = await self._in_steps(
                removed, lambda c, at_most: retention.remove_artifacts(c, oldest, at_most)
            )
        if settings.artifacts_max_bytes is not None:
            removed.artifacts += await self._remove_beyond(settings.artifacts_max_bytes, removed)
        return removed

    async def _remove_beyond(self, max_bytes: int, removed: Removed) -> int:
        excess_bytes = await self._farm.reader.read(retention.artifacts_bytes) - max_bytes
        if excess_bytes <= 0:
            return 0

        def remove(connection: Connection, at_most: int) -> Batch:
            nonlocal excess_bytes
            batch = retention.remove_oldest_artifacts(connection, excess_bytes, at_most)
            excess_bytes -= batch.freed_bytes
            return batch

        return await self._in_steps(removed, remove)

    async def _in_steps(self, removed: Removed, remove: Remove) -> int:
        """Remove all that is due; after each step the others have the writer for as long."""
        pace = Pace()
        total, is_last = 0, False

        def step(work: Work) -> tuple[float, Batch]:
            return time.monotonic(), remove(work.connection, pace.size)

        while not is_last:
            began_s, batch = await self._farm.writer.write(step)
            held_s = time.monotonic() - began_s
            removed.longest_step_s = max(removed.longest_step_s, held_s)
            total += batch.removed
            is_last = batch.is_last
            pace.took(held_s)
            if not is_last:
                await asyncio.sleep(held_s)
        return total
