"""Periodic maintenance of the queue: leases, repeats, lost wake-ups and the clock."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from ffrtmp_shared import suite
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.clock import Clock, SteadyClock, utc_now
from ffrtmp_master.queue import lease_extension, leases
from ffrtmp_master.queue.liveness import LastSeenThrottle, Liveness
from ffrtmp_master.queue.parked_claims import ParkedClaims
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.runs import adaptive_repeats, control_encodes, looks
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import nodes, runs, statements
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_master.store.writer import Writer

_log = logging.getLogger(__name__)

# The intervals in seconds at which lost wake-ups are repeated and at which the clock is set.
_LOST_WAKEUPS_EVERY_S = 5.0
_CLOCK_EVERY_S = 30.0
# If the clocks differ by more, the reference clock was set; smaller differences are drift.
_CLOCK_STEP = timedelta(seconds=1)


class MaintenanceLoop:
    """Ends expired leases, queues repeats, repeats lost wake-ups, and sets the clock."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        reader: Reader,
        writer: Writer,
        catalog: RequirementCatalog,
        parked_claims: ParkedClaims,
        liveness: Liveness,
        last_seen: LastSeenThrottle,
        interval_s: float,
    ) -> None:
        """Create the loop; `running` starts it.

        Args:
            settings: The master's settings.
            clock: The clock that determines when leases expire. If it is a SteadyClock, it is set
                periodically.
            reader: Reads the database.
            writer: Writes the database.
            catalog: The requirement sets that this master knows.
            parked_claims: The parked claims of this master.
            liveness: Determines which nodes are offline.
            last_seen: Writes the last-seen times of nodes.
            interval_s: The pause between two passes, in seconds.
        """
        self._settings = settings
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._catalog = catalog
        self._parked_claims = parked_claims
        self._liveness = liveness
        self._last_seen = last_seen
        self._interval_s = interval_s
        self._last_pass_s = time.monotonic()
        self._lost_wakeups_s = self._last_pass_s
        self._clock_s = self._last_pass_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop for the duration of the context."""
        await self._set_clock()
        task = asyncio.create_task(self._loop())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self._record_end()

    async def _record_end(self) -> None:
        """Record that the master was listening until now."""
        try:
            await self._writer.write(lease_extension.record_listening)
        except SQLAlchemyError as error:
            _log.warning("could not record the end of the master: %s", error)

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.run_once()
            except SQLAlchemyError:
                _log.exception("maintenance of the queue failed; retrying")

    async def run_once(self) -> None:
        """Run one maintenance pass."""
        now_s = time.monotonic()
        if now_s - self._last_pass_s > max(self._settings.lease_s / 2, 2 * self._interval_s):
            # The database was unreachable or the process was suspended.
            _log.warning("this master could not receive heartbeats; leases are extended")
            await self.resume()
        await self.expire_leases()
        await self.add_repeats()
        if now_s - self._lost_wakeups_s >= _LOST_WAKEUPS_EVERY_S:
            self._lost_wakeups_s = now_s
            await self.repeat_lost_wakeups()
        if now_s - self._clock_s >= _CLOCK_EVERY_S:
            await self._set_clock()
        self._last_pass_s = now_s

    async def begin(self) -> None:
        """Set the clock and resume the queue. Called before the master accepts requests."""
        if isinstance(self._clock, SteadyClock):
            self._clock.set(await self._reference_time())
        await self.resume()

    async def resume(self, *, is_clock_set: bool = False) -> None:
        """Extend leases and restart liveness timers, because agents could not report until now.

        `is_clock_set` states whether the clock was set, so that stored times are not comparable.
        """

        def extend(work: UnitOfWork) -> None:
            lease_s = self._settings.lease_s
            lease_extension.extend_leases(work, lease_s, is_clock_set=is_clock_set)
            self._liveness.resume(work.now, nodes.last_seen_before(work.connection, work.now))

        await self._writer.write(extend)

    async def expire_leases(self) -> None:
        """End attempts whose lease has expired or whose deadline has passed."""
        now: datetime = self._clock()
        backoff_s = self._settings.retry_backoff_s
        if await self._reader.read(lambda c: leases.has_overdue(c, now)):
            await self._writer.write(lambda work: leases.expire_overdue(work, backoff_s))

    async def add_repeats(self) -> None:
        """Queue control encodes, and queue repeats in runs whose medians are not precise enough."""
        now, every = self._clock(), control_encodes.EVERY
        for due in await self._reader.read(lambda c: adaptive_repeats.find_due_runs(c, now, every)):
            try:
                # The suite is parsed in a thread, because this takes seconds for a large suite.
                parsed = await asyncio.to_thread(_parse_suite, due.suite)
            except suite.SuiteError:
                # The suite was accepted by an older release. Its queued jobs are still run.
                _log.exception(
                    "run %s gets no more repeats: this release rejects its suite", due.run_id
                )
                await self._writer.write(partial(_settle, due.run_id))
                continue
            policy = adaptive_repeats.RepeatPolicy(parsed, every, self._settings.priority_step_s)
            await self._writer.write(partial(self._add_repeats, due, policy))

    def _add_repeats(
        self,
        due: adaptive_repeats.RunDueForRepeats,
        policy: adaptive_repeats.RepeatPolicy,
        work: UnitOfWork,
    ) -> None:
        adaptive_repeats.add_repeats(work, due, policy, self._catalog)

    async def repeat_lost_wakeups(self) -> None:
        """Wake claims for queued jobs, in case an earlier wake-up was lost.

        This also records that the master is listening and that the nodes of parked claims are
        alive, marks runs as finished if all their jobs have ended, and deactivates requirement sets
        without queued jobs.
        """
        has_parked, now = len(self._parked_claims) > 0, self._clock()
        step = self._catalog.step

        def queued(connection: Connection) -> set[int]:
            db = statements.statements_for(connection)
            self._catalog.load_new(db)
            found = db.queued_requirements()
            self._catalog.activate(found)
            self._catalog.deactivate_others(found, step)
            return db.any_queued(found, now) if has_parked else set()

        for requirement_id in await self._reader.read(queued):
            self._parked_claims.wake(requirement_id, 1, is_repeated=True)
        names = self._parked_claims.waiting_nodes()

        def record(work: UnitOfWork) -> None:
            lease_extension.record_listening(work)
            self._last_seen.record_seen(work, names)
            runs.finish_all(work.connection, work.now)

        await self._writer.write(record)

    async def _set_clock(self) -> None:
        """Set the clock to that of the database if masters share it, otherwise to the host's.

        If the reference clock was set, leases would expire immediately or much too late. Therefore,
        all leases are then extended to their full duration.
        """
        self._clock_s = time.monotonic()
        if not isinstance(self._clock, SteadyClock):
            return
        now = await self._reference_time()
        if abs(self._clock.set(now)) > _CLOCK_STEP:
            _log.warning("the clock was set; all leases are extended")
            await self.resume(is_clock_set=True)

    async def _reference_time(self) -> datetime:
        if not self._settings.is_shared:
            return utc_now()

        def of_database(connection: Connection) -> datetime:
            found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            return found

        return await self._reader.read(of_database)


def _settle(run_id: UUID, work: UnitOfWork) -> None:
    runs.settle_nodes(work.connection, run_id, None)
    work.job_ended(run_id)


def _parse_suite(text: str) -> suite.Suite:
    """Parse a suite and plan its looks, which are cached. Raises SuiteError."""
    parsed = suite.parse_suite(text)
    looks.looks_of(parsed)
    return parsed
