"""The components of one master process, constructed from its settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.metric_page import MetricPage
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from ffrtmp_master.auth.authentication import TokenAuthenticator
from ffrtmp_master.background.claim_wakeups import ClaimWakeups
from ffrtmp_master.background.event_feed import EventFeed
from ffrtmp_master.background.log_feed import LogFeed
from ffrtmp_master.background.maintenance import MaintenanceLoops
from ffrtmp_master.background.notifications import NotificationListener
from ffrtmp_master.background.readiness import Readiness
from ffrtmp_master.background.retention import RetentionLoop
from ffrtmp_master.clock import Clock, SteadyClock, utc_now
from ffrtmp_master.price_file import PriceFile
from ffrtmp_master.queue.batches import BatchCaches, BatchExecutor
from ffrtmp_master.queue.liveness import LastSeenThrottle, Liveness
from ffrtmp_master.queue.parked_claims import ParkedClaims
from ffrtmp_master.queue.pending_reason_counts import PendingReasonCounts
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.runs.compute_pool import ComputePool
from ffrtmp_master.runs.suite_parser import SuiteParser
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import epochs
from ffrtmp_master.store.content.factory import ContentStores
from ffrtmp_master.store.engine import close_connections, reading_engine, writing_engine
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.source_removal import SourceRemoval
from ffrtmp_master.store.space import SpaceGuard
from ffrtmp_master.store.transactions import Hooks, has_missing_reference
from ffrtmp_master.store.unit_of_work import Effects
from ffrtmp_master.store.upload_limits import UploadLimits
from ffrtmp_master.store.writer import Writer
from ffrtmp_master.telemetry.metrics import Metrics
from ffrtmp_master.telemetry.snapshot import SnapshotCollector, SnapshotSources


class Services:
    """Constructs, starts and stops the components of a master process."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        maintenance_interval_s: float = 1.0,
        certificates: Collector | None = None,
    ) -> None:
        """Construct the components.

        Args:
            settings: The master's settings.
            clock: The clock that determines when leases expire. The default is a SteadyClock that
                is adjusted to the clock of the database or the host.
            maintenance_interval_s: The pause between two maintenance passes, in seconds.
            certificates: Exports the dates of the certificates of the master's listeners.
        """
        self.settings = settings
        self._certificates = certificates
        self.clock: Clock = SteadyClock(utc_now()) if clock is None else clock
        self.metrics = Metrics("postgresql" if settings.is_shared else "sqlite")
        self.loops = LoopRegistry()
        self.liveness = Liveness(settings.node_offline_s)
        self.pending_reason_counts = PendingReasonCounts()
        self.catalog = RequirementCatalog(settings.max_requirement_sets)
        self.parked_claims = ParkedClaims(self.catalog)
        self._last_seen = LastSeenThrottle(settings.node_offline_s)
        password = settings.database_password()
        self._engines = (
            writing_engine(settings.database_url, password),
            reading_engine(settings.database_url, password),
        )
        self.reader = Reader(self._engines[1])
        self.space = SpaceGuard(settings, self.reader)
        self.uploads = UploadLimits(settings)
        self.prices = PriceFile(settings.price_book_file)
        self.event_feed = EventFeed(self.reader, self.loops)
        self.log_feed = LogFeed(self.reader, self.loops)
        origin = str(new_id())
        self._wakeups = ClaimWakeups(
            clock=self.clock,
            reader=self.reader,
            catalog=self.catalog,
            parked_claims=self.parked_claims,
            event_feed=self.event_feed,
            origin=origin,
        )
        caches = BatchCaches(self.catalog, self._last_seen)
        self.writer = Writer(
            self._engines[0],
            self.clock,
            BatchExecutor(caches, settings).apply,
            Hooks(
                committed=self._committed,
                batch=self.metrics.committed,
                rolled_back=self._rolled_back,
                connected=self._connected,
                read_only=self._reconnect,
            ),
            loops=self.loops,
            origin=origin,
        )
        self.source_removal = SourceRemoval(self.reader, self.writer)
        self.authenticator = TokenAuthenticator(
            self.reader, self.writer, self.clock, settings, self.loops
        )
        self.compute_pool = ComputePool(settings.suites_parsed_at_once_max)
        self.suites = SuiteParser(self.compute_pool)
        self.content_stores = ContentStores(settings, password, self._engines[1])
        self.artifacts = self.content_stores.artifacts
        self.sources = self.content_stores.sources
        self.maintenance = MaintenanceLoops(
            settings=settings,
            clock=self.clock,
            reader=self.reader,
            writer=self.writer,
            catalog=self.catalog,
            parked_claims=self.parked_claims,
            liveness=self.liveness,
            last_seen=self._last_seen,
            suites=self.suites,
            loops=self.loops,
            interval_s=maintenance_interval_s,
        )
        self.retention = RetentionLoop(
            settings=settings,
            clock=self.clock,
            reader=self.reader,
            writer=self.writer,
            content_stores=self.content_stores,
            catalog=self.catalog,
            loops=self.loops,
        )
        self.readiness = Readiness(self.reader, self.writer, self.loops)
        # Both listeners serve this page, because it prevents that two threads call a collector at
        # the same time.
        self.metric_page = MetricPage(self._collectors())
        self._listener: NotificationListener | None = None
        if settings.is_shared:
            self._listener = NotificationListener(
                settings.database_url, password, self._wakeups.after_notification, self.loops
            )

    def _collectors(self) -> dict[str, Collector]:
        return {
            "events": self.metrics.registry,
            "loops": LoopCollector("ffrtmp_master", self.loops.read),
            "snapshot": SnapshotCollector(self.snapshot_sources),
        } | ({} if self._certificates is None else {"certificates": self._certificates})

    @property
    def snapshot_sources(self) -> SnapshotSources:
        """The objects from which the metrics snapshot is read at each scrape."""
        return SnapshotSources(
            reader=self.reader,
            clock=self.clock,
            liveness=self.liveness,
            pending_reason_counts=self.pending_reason_counts,
            parked_claims=self.parked_claims,
            data_dir=self.settings.data_dir,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the writer and the background loops for the duration of the context."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._dispose)
            await stack.enter_async_context(self.writer.running())
            await self.maintenance.begin()
            if self._listener is not None:
                self._listener.start()
                stack.push_async_callback(asyncio.to_thread, self._listener.close)
            await stack.enter_async_context(self.authenticator.running())
            await stack.enter_async_context(self.maintenance.running())
            await stack.enter_async_context(self.retention.running())
            stack.callback(self.close_subscriptions)
            yield

    def close_subscriptions(self) -> None:
        """End all parked claims and subscriptions. Called at shutdown."""
        self.parked_claims.close()
        self.event_feed.close()
        self.log_feed.close()

    async def _dispose(self) -> None:
        self.suites.close()
        await asyncio.to_thread(self.compute_pool.close)
        await asyncio.to_thread(self.reader.close)
        self.content_stores.close()
        for engine in self._engines:
            close_connections(engine)

    def _committed(self, effects: Effects) -> None:
        self.metrics.effects(effects)
        self._wakeups.after_commit(effects)

    def _connected(self, connection: Connection, is_first: bool) -> None:
        """Check whether the database was replaced, before anything is written to it."""
        with connection.begin():
            epochs.begin_epoch(connection, self.clock(), is_start=is_first)

    def _reconnect(self) -> None:
        """Replace all database connections, so that the next ones reach the primary server."""
        close_connections(self._engines[1])
        self.content_stores.close()

    def _rolled_back(self, error: Exception) -> None:
        """Invalidate the caches after a rollback, and count it. May be called from any thread."""
        self.catalog.roll_back(is_stale=has_missing_reference(error))
        self._last_seen.invalidate()
        self.metrics.rolled_back()
