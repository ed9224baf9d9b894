"""Everything that the API works with, from the settings, and its life from start to stop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from ffrtmp_shared.states import JobState
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.clock import Clock, utc_now
from ffrtmp_master.metrics import Metrics
from ffrtmp_master.queue import leases
from ffrtmp_master.queue.failures import Ended
from ffrtmp_master.queue.waiting import WaitingRoom
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.engine import reading_engine, writing_engine
from ffrtmp_master.store.files import ContentStore
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.writer import Writer

_log = logging.getLogger(__name__)


class Farm:
    """The master's parts: database, files, waiting agents, metrics, clock."""

    def __init__(self, settings: Settings, clock: Clock = utc_now, sweep_s: float = 1.0) -> None:
        """Open the parts; `sweep_s` is how often leases are looked through."""
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics()
        self.waiting = WaitingRoom()
        self._engines = (
            writing_engine(settings.database_url),
            reading_engine(settings.database_url),
        )
        self.writer = Writer(self._engines[0], self.metrics.batch.observe)
        self.reader = Reader(self._engines[1])
        self.artifacts = ContentStore(settings.data_dir / "artifacts", settings.max_artifact_bytes)
        self.sources = ContentStore(settings.data_dir / "sources", settings.max_source_bytes)
        self._sweep_s = sweep_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the writer and the sweep of leases while the context lasts."""
        self.writer.start()
        sweep = None
        try:
            lease_s = self.settings.lease_s
            await self.writer.write(lambda c: leases.spare(c, self.clock(), lease_s))
            sweep = asyncio.create_task(self._sweep())
            yield
        finally:
            self.waiting.close()
            if sweep is not None:
                sweep.cancel()
                await asyncio.wait([sweep])
            await asyncio.to_thread(self.writer.close)
            await asyncio.to_thread(self.reader.close)
            for engine in self._engines:
                engine.dispose()

    def attempts_ended(self, ended: Iterable[Ended]) -> None:
        """Count attempts that ended without a result, and wake who can go on."""
        for one in ended:
            self.metrics.attempt_ended(one)
            self.waiting.wake_node(one.worked_on)
            if one.state is not JobState.QUEUED:
                continue
            if one.not_before is None:
                self.waiting.wake(one.node, [one.encoder])
            else:
                delay_s = (one.not_before - self.clock()).total_seconds()
                asyncio.get_running_loop().call_later(
                    max(delay_s, 0.0), self.waiting.wake, one.node, [one.encoder]
                )

    async def expire_leases(self) -> None:
        """End the attempts whose lease has run out."""
        now = self.clock()

        def expire(connection: Connection) -> list[Ended]:
            return list(leases.expire(connection, now, self.settings.retry_backoff_s))

        if await self.reader.read(lambda c: leases.any_expired(c, now)):
            ended = await self.writer.write(expire)
            self.metrics.expiries.inc(len(ended))
            self.attempts_ended(ended)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            try:
                await self.expire_leases()
            except SQLAlchemyError:
                _log.exception("leases could not be looked through; trying again")
