"""What the master looks after by itself, every second or so."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.clock import utc_now
from ffrtmp_master.store import runs, statements
from ffrtmp_master.store.unit_of_work import Work

if TYPE_CHECKING:
    from ffrtmp_master.services import Farm

_log = logging.getLogger(__name__)

# How often it is made sure that no hint was lost, and that clocks agree.
_LOOK_EVERY_S = 5.0
_CLOCK_EVERY_S = 30.0
# A clock that was set, not one that drifted.
_STEP = timedelta(seconds=1)


class Sweep:
    """Ends leases that ran out, wakes whom a lost hint left asleep, and keeps the clock right."""

    def __init__(self, farm: "Farm", every_s: float) -> None:
        """Prepare to look after `farm` every `every_s` seconds."""
        self._farm = farm
        self._every_s = every_s
        self._last_s = time.monotonic()
        self._looked_s = self._last_s
        self._clock_s = self._last_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep while the context lasts."""
        await self._set_clock()
        task = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.once()
            except SQLAlchemyError:
                _log.exception("the queue could not be looked through; trying again")

    async def once(self) -> None:
        """Look through everything that is due."""
        farm = self._farm
        now_s = time.monotonic()
        if now_s - self._last_s > max(farm.settings.lease_s / 2, 2 * self._every_s):
            # The database was away, or this process stood still: no agent could renew.
            await self._spare()
        await farm.expire_leases()
        await farm.top_up_runs()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            await self.look_for_lost_hints()
        if now_s - self._clock_s >= _CLOCK_EVERY_S:
            await self._set_clock()
        self._last_s = now_s

    async def look_for_lost_hints(self) -> None:
        """Wake those for whom something is queued, and note that waiting nodes are there."""
        farm = self._farm
        awaited, now = farm.waiting.awaited(), farm.clock()

        def queued(connection: Connection) -> set[int]:
            farm.learn_requirements(connection)
            return statements.of(connection).any_queued(awaited, now) if awaited else set()

        for requirement_id in await farm.reader.read(queued):
            farm.waiting.wake(requirement_id, 1)
        names = farm.waiting.nodes()

        def note(work: Work) -> None:
            farm.hearing.note(work, names)
            runs.finish_all(work.connection, work.now)

        await farm.writer.write(note)

    async def _spare(self) -> None:
        _log.warning("no agent could be heard for a while; all leases get a full term")
        await self._farm.resume()

    async def _set_clock(self) -> None:
        """Go by the database's clock where masters share it, else by the host's.

        Where that was set, leases told by the old one would end at once or never: they all get a
        full term by the new one.
        """
        self._clock_s = time.monotonic()
        clock = self._farm.steady_clock
        if clock is None:
            return
        moment = await self._moment()
        if abs(clock.set(moment)) > _STEP:
            await self._spare()

    async def _moment(self) -> datetime:
        if not self._farm.settings.is_shared:
            return utc_now()

        def of_database(connection: Connection) -> datetime:
            found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            return found

        return await self._farm.reader.read(of_database)
