"""Removal of old jobs, artifacts and content, in short steps that do not delay requests."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AsyncLoop, Pacing
from sqlalchemy import Connection, Engine

from ffrtmp_master.clock import Clock
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import retention, sources
from ffrtmp_master.store.availability import UNAVAILABLE
from ffrtmp_master.store.content.factory import ContentStores
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.retention import Batch, Place
from ffrtmp_master.store.writer import Writer

_log = logging.getLogger(__name__)

_INTERVAL_S = 300.0
_CONTENT_INTERVAL_S = 3600.0
# A pass that removes many rows or files takes long; each of its steps counts as progress.
_STALE_AFTER_S = 3600.0

Remove = Callable[[Connection, int, Place | None], Batch]
"""A function that examines at most a number of rows after a place, and removes expired ones."""


class AdaptiveBatchSize:
    """The number of rows per step. Steps should take about 20 ms, so that none reaches 100 ms."""

    AIM_S = 0.02
    MOST = 2000

    def __init__(self) -> None:
        """Start with a small size."""
        self.size = 8

    def adjust(self, duration_s: float) -> None:
        """Adapt the size; `duration_s` is the duration of the last step in seconds."""
        fitting = int(self.size * self.AIM_S / max(duration_s, 1e-6))
        # Removing later rows may take longer, so the size grows slowly and shrinks immediately.
        self.size = min(max(fitting, 1), self.size * 2, self.MOST)


@dataclass
class Removed:
    """Number of items of each kind removed in one pass, and the duration of its longest step."""

    jobs: int = 0
    artifacts: int = 0
    sources: int = 0
    contents: int = 0
    longest_step_s: float = 0.0


class RetentionLoop:
    """Removes finished jobs, artifacts and content whose retention period has ended."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        reader: Reader,
        writer: Writer,
        content_stores: ContentStores,
        catalog: RequirementCatalog,
        loops: LoopRegistry,
    ) -> None:
        """Create the loop; `running` starts it.

        Args:
            settings: The settings, with the retention periods and the maximum size of artifacts.
            clock: The clock that determines the ages of jobs and artifacts.
            reader: Reads the database.
            writer: Removes rows if the database allows only a single writer.
            content_stores: The stores of artifacts and sources.
            catalog: The requirement sets that this master knows.
            loops: The registry of the master's loops.
        """
        self._settings = settings
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._content_stores = content_stores
        self._catalog = catalog
        self._content_checked_s = time.monotonic()
        self._status = loops.add("retention", stale_after_s=_INTERVAL_S + _STALE_AFTER_S)
        # The items are the kinds of data, so that a kind that cannot be removed does not keep the
        # others.
        self._kinds = ItemGuard(self._status, passed_on=UNAVAILABLE)
        self._loop = AsyncLoop(
            self._status,
            self._run_pass,
            Pacing(interval_s=_INTERVAL_S, is_first_delayed=True),
            expected=UNAVAILABLE,
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return a context for whose duration the loop runs."""
        return self._loop.running()

    async def _run_pass(self) -> None:
        removed = await self.run_once()
        is_due = time.monotonic() - self._content_checked_s >= _CONTENT_INTERVAL_S
        if is_due or removed.jobs or removed.artifacts or removed.sources:
            self._content_checked_s = time.monotonic()

            async def remove_content() -> None:
                removed.contents = await self._content_stores.remove_unused()

            await self._kinds.run_async("content", remove_content)
        if removed.jobs or removed.artifacts or removed.contents:
            _log.info("removed expired data", extra=vars(removed))

    async def run_once(self) -> Removed:
        """Remove expired rows. Content is removed later, when no row refers to it any more."""
        removed = Removed()
        for kind, remove in (
            ("jobs", self._remove_jobs),
            ("artifacts by age", self._remove_old_artifacts),
            ("sources by age", self._remove_old_sources),
            ("artifacts by size", self._remove_excess_artifacts),
            ("requirement sets", self._forget_missing_sets),
        ):
            await self._kinds.run_async(kind, partial(remove, removed))
        return removed

    async def _remove_jobs(self, removed: Removed) -> None:
        keep_days = self._settings.jobs_keep_days
        if keep_days is not None:
            before = self._clock() - timedelta(days=keep_days)
            removed.jobs = await self._in_steps(
                removed, lambda c, at_most, after: retention.remove_jobs(c, before, at_most, after)
            )

    async def _remove_old_artifacts(self, removed: Removed) -> None:
        keep_days = self._settings.artifacts_keep_days
        if keep_days is not None:
            before = self._clock() - timedelta(days=keep_days)
            removed.artifacts = await self._in_steps(
                removed,
                lambda c, at_most, after: retention.remove_artifacts(c, before, at_most, after),
            )

    async def _remove_old_sources(self, removed: Removed) -> None:
        keep_days = self._settings.sources_keep_days
        if keep_days is not None:
            before = self._clock() - timedelta(days=keep_days)
            listed = await self._reader.read(lambda c: sources.list_removable(c, before))

            def remove(connection: Connection, at_most: int, _after: Place | None) -> Batch:
                digests, listed[:] = listed[:at_most], listed[at_most:]
                count = sources.remove_unused_sources(connection, digests, before)
                return Batch(count, is_last=not listed)

            if listed:
                removed.sources = await self._in_steps(removed, remove)

    async def _remove_excess_artifacts(self, removed: Removed) -> None:
        max_bytes = self._settings.artifacts_max_bytes
        if max_bytes is not None:
            removed.artifacts += await self._remove_beyond(max_bytes, removed)

    async def _forget_missing_sets(self, _removed: Removed) -> None:
        # Another master may have removed the last jobs of these sets.
        await self._writer.write(lambda work: self._catalog.remove_missing(work.statements))

    async def _remove_beyond(self, max_bytes: int, removed: Removed) -> int:
        excess_bytes = await self._reader.read(retention.artifacts_bytes) - max_bytes
        if excess_bytes <= 0:
            return 0

        def remove(connection: Connection, at_most: int, after: Place | None) -> Batch:
            nonlocal excess_bytes
            batch = retention.remove_oldest_artifacts(connection, excess_bytes, at_most, after)
            excess_bytes -= batch.freed_bytes
            return batch

        return await self._in_steps(removed, remove)

    async def _in_steps(self, removed: Removed, remove: Remove) -> int:
        """Remove all expired rows in steps. After each step, pause for as long as the step took."""
        batch_size = AdaptiveBatchSize()
        total, is_last = 0, False
        after: Place | None = None
        while not is_last:
            batch, duration_s = await self._step(remove, batch_size.size, after)
            after = batch.end
            self._catalog.remove(batch.removed_sets)
            removed.longest_step_s = max(removed.longest_step_s, duration_s)
            total += batch.removed
            self._status.succeed()
            is_last = batch.is_last
            batch_size.adjust(duration_s)
            if not is_last:
                await asyncio.sleep(duration_s)
        return total

    async def _step(self, remove: Remove, at_most: int, after: Place | None) -> tuple[Batch, float]:
        """Remove one batch; return its outcome and its duration in seconds.

        The writer is used only if the database does not allow other write connections.
        """
        writing_engine = self._content_stores.writing

        def timed(connection: Connection) -> tuple[float, Batch]:
            start_s = time.monotonic()
            retention.allow_async_commit(connection)
            return start_s, remove(connection, at_most, after)

        def step_outside_writer(engine: Engine) -> tuple[float, Batch]:
            with engine.begin() as connection:
                return timed(connection)

        if writing_engine is None:
            start_s, batch = await self._writer.write(lambda work: timed(work.connection))
        else:
            start_s, batch = await asyncio.to_thread(step_outside_writer, writing_engine)
        return batch, time.monotonic() - start_s
