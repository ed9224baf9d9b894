"""Everything that the API works with, from the settings, and its life from start to stop."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from uuid import UUID

from ffrtmp_shared import suite
from ffrtmp_shared.ids import new_id
from sqlalchemy import Connection

from ffrtmp_master.auth.authentication import Gate
from ffrtmp_master.background.event_feed import EventFeed
from ffrtmp_master.background.log_feed import LogWatch
from ffrtmp_master.background.maintenance import Sweep
from ffrtmp_master.background.notifications import Listener
from ffrtmp_master.background.retention import Retention
from ffrtmp_master.clock import Clock, SteadyClock, utc_now
from ffrtmp_master.queue import batches, leases
from ffrtmp_master.queue.liveness import Hearing, Liveness
from ffrtmp_master.queue.matching import Catalog
from ffrtmp_master.queue.pending_reason_counts import Hindrances
from ffrtmp_master.queue.uploads import Uploads
from ffrtmp_master.queue.waiting import WaitingRoom
from ffrtmp_master.runs import adaptive_repeats, control_encodes
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import nodes, runs
from ffrtmp_master.store.content.factory import Contents
from ffrtmp_master.store.engine import reading_engine, writing_engine
from ffrtmp_master.store.notifications import News
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.transactions import Watch
from ffrtmp_master.store.unit_of_work import Effects, Work
from ffrtmp_master.store.writer import Writer
from ffrtmp_master.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


class Farm:
    """The master's parts: database, files, waiting agents, metrics, clock."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, sweep_s: float = 1.0
    ) -> None:
        """Open the parts; `sweep_s` is how often leases are looked through."""
        self.settings = settings
        self.clock = SteadyClock(utc_now()) if clock is None else clock
        self.metrics = Metrics("postgresql" if settings.is_shared else "sqlite")
        self.liveness = Liveness(settings.node_offline_s)
        self.hearing = Hearing(settings.node_offline_s)
        self.hindrances = Hindrances()
        self.catalog = Catalog()
        self.waiting = WaitingRoom(self.catalog)
        self._origin = str(new_id())
        password = settings.database_password()
        self._engines = (
            writing_engine(settings.database_url, password),
            reading_engine(settings.database_url, password),
        )
        watch = Watch(self._committed, self.metrics.committed, self._rolled_back)
        memory = batches.Memory(self.catalog, self.hearing, Uploads())
        self.writer = Writer(
            self._engines[0],
            self.clock,
            lambda work, requests: batches.apply(work, requests, memory, settings),
            watch,
            self._origin,
        )
        self.reader = Reader(self._engines[1])
        self.gate = Gate(self.reader, self.writer, self.clock, settings)
        self.events = EventFeed(self.reader)
        self.log_watch = LogWatch(self.reader)
        self.contents = Contents(settings, password, self._engines[1])
        self.artifacts = self.contents.artifacts
        self.sources = self.contents.sources
        self.sweep = Sweep(self, sweep_s)
        self.retention = Retention(self)
        self._listener: Listener | None = None
        if settings.is_shared:
            self._listener = Listener(settings.database_url, password, self._heard)

    @property
    def steady_clock(self) -> SteadyClock | None:
        """The clock when it is the farm's own, which may be set; None when it was given."""
        return self.clock if isinstance(self.clock, SteadyClock) else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the writer and the sweep while the context lasts."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._dispose)
            await stack.enter_async_context(self.writer.running())
            await self.resume()
            if self._listener is not None:
                self._listener.start()
                stack.push_async_callback(asyncio.to_thread, self._listener.close)
            await stack.enter_async_context(self.gate.running())
            await stack.enter_async_context(self.sweep.running())
            await stack.enter_async_context(self.retention.running())
            stack.callback(self.send_home)
            yield

    def send_home(self) -> None:
        """End what waits or follows: the master stops."""
        self.waiting.close()
        self.events.close()
        self.log_watch.close()

    async def _dispose(self) -> None:
        await asyncio.to_thread(self.reader.close)
        self.contents.close()
        for engine in self._engines:
            engine.dispose()

    def _committed(self, effects: Effects) -> None:
        """Wake who can go on after a transaction, and count what it did."""
        self.metrics.effects(effects)
        self.events.wake()
        for node, is_exclusive in effects.taken.items():
            self.waiting.take(node, is_exclusive=is_exclusive)
        for node in effects.freed:
            self.waiting.free(node)
        for requirement_id, jobs in effects.queued.items():
            self.waiting.wake(requirement_id, jobs)
        loop = asyncio.get_running_loop()
        for not_before, requirement_id in effects.delayed:
            delay_s = max((not_before - self.clock()).total_seconds(), 0.0)
            loop.call_later(delay_s, self.waiting.wake, requirement_id, 1)

    def _rolled_back(self) -> None:
        """Forget what a transaction that did not happen has told; in whichever thread it was."""
        self.catalog.undo()
        self.hearing.forget()
        self.metrics.rolled_back()

    async def _heard(self, news: News | None) -> None:
        """Wake who can go on after another master's transaction; None when news may be lost."""
        if news is not None and news.origin == self._origin:
            return
        if news is None or news.much:
            self.waiting.wake_all()
            return
        if not all(self.catalog.knows(requirement_id) for requirement_id in news.queued):
            await self.reader.read(self.learn_requirements)
        for node in news.freed:
            self.waiting.free(node)
        for requirement_id, jobs in news.queued.items():
            if self.catalog.knows(requirement_id):
                self.waiting.wake(requirement_id, jobs)

    def learn_requirements(self, connection: Connection) -> None:
        """Learn the sets of requirements that other masters have stored."""
        self.catalog.refresh_from(connection)

    async def resume(self) -> None:
        """Hold nobody's silence against him: no agent could be heard until now."""

        def spare(work: Work) -> None:
            leases.spare(work, self.settings.lease_s)
            self.liveness.resume(work.now, nodes.last_heard(work.connection, work.now))

        await self.writer.write(spare)

    async def top_up_runs(self) -> None:
        """Queue more repeats where medians are not known well enough, and control encodes."""
        now, every = self.clock(), control_encodes.EVERY
        for due in await self.reader.read(lambda c: adaptive_repeats.due(c, now, every)):
            try:
                # Beside the event loop: a large one takes seconds.
                read = await asyncio.to_thread(suite.parse, due.suite)
            except suite.SuiteError:
                # It was made by a release that had other suites; what is queued is done.
                _log.exception("run %s gets no more jobs: its suite is not valid now", due.run_id)
                await self.writer.write(partial(_settle, due.run_id))
                continue
            rules = adaptive_repeats.Rules(read, every, self.settings.priority_step_s)
            await self.writer.write(partial(self._top_up, due, rules))

    def _top_up(self, due: adaptive_repeats.Due, rules: adaptive_repeats.Rules, work: Work) -> None:
        adaptive_repeats.top_up(work, due, rules, self.catalog)

    async def expire_leases(self) -> None:
        """End the attempts whose lease has run out or whose deadline has passed."""
        now: datetime = self.clock()
        backoff_s = self.settings.retry_backoff_s
        if await self.reader.read(lambda c: leases.any_overdue(c, now)):
            await self.writer.write(lambda work: leases.expire(work, backoff_s))


def _settle(run_id: UUID, work: Work) -> None:
    runs.settle(work.connection, run_id, None)
    work.job_ended(run_id)
