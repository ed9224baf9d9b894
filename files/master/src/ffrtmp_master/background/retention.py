"""Retention: what was kept long enough goes, in steps that keep nobody waiting."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.store import retention
from ffrtmp_master.store.retention import Batch
from ffrtmp_master.store.writer import WriterClosedError

if TYPE_CHECKING:
    from ffrtmp_master.services import Farm

_log = logging.getLogger(__name__)

_EVERY_S = 300.0
_CONTENT_EVERY_S = 3600.0

Remove = Callable[[Connection, int], Batch]
"""Removes at most so many of something."""


class Pace:
    """How much to remove at a time: as much as takes about 20 ms, so that 100 ms are never met."""

    AIM_S = 0.02
    MOST = 2000

    def __init__(self) -> None:
        """Begin with little."""
        self.size = 8

    def took(self, duration_s: float) -> None:
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
        """Remove all that is due; after each step the others have the database for as long."""
        pace = Pace()
        total, is_last = 0, False
        while not is_last:
            batch, took_s = await self._step(remove, pace.size)
            removed.longest_step_s = max(removed.longest_step_s, took_s)
            total += batch.removed
            is_last = batch.is_last
            pace.took(took_s)
            if not is_last:
                await asyncio.sleep(took_s)
        return total

    async def _step(self, remove: Remove, at_most: int) -> tuple[Batch, float]:
        """Remove some, and say how long that took; the one writer is held only where it must be."""
        beside = self._farm.contents.writing

        def timed(connection: Connection) -> tuple[float, Batch]:
            began_s = time.monotonic()
            retention.need_not_wait_for_the_disk(connection)
            return began_s, remove(connection, at_most)

        def step_beside(engine: Engine) -> tuple[float, Batch]:
            with engine.begin() as connection:
                return timed(connection)

        if beside is None:
            began_s, batch = await self._farm.writer.write(lambda work: timed(work.connection))
        else:
            began_s, batch = await asyncio.to_thread(step_beside, beside)
        return batch, time.monotonic() - began_s
