"""Periodic maintenance of the queue: leases, repeats, lost wake-ups and the clock."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AsyncLoop, Pacing
from ffrtmp_shared.suite import SuiteError
from sqlalchemy import Connection, text

from ffrtmp_master.clock import Clock, SteadyClock, utc_now
from ffrtmp_master.queue import lease_extension, leases
from ffrtmp_master.queue.liveness import LastSeenThrottle, Liveness
from ffrtmp_master.queue.parked_claims import ParkedClaims
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.runs import adaptive_repeats, control_encodes
from ffrtmp_master.runs.suite_parser import SuiteParser
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import nodes, runs, statements
from ffrtmp_master.store.availability import UNAVAILABLE
from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.errors import BusyError, UnprocessableError
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_master.store.writer import Writer

_log = logging.getLogger(__name__)

# The intervals in seconds at which lost wake-ups are repeated and at which the clock is set.
_LOST_WAKEUPS_EVERY_S = 5.0
_CLOCK_EVERY_S = 30.0
# The interval in seconds at which a master records that it can receive heartbeats.
_LISTENING_EVERY_S = 5.0
# The longest pause in seconds after a failure, so that leases expire soon after an outage.
_RETRY_PAUSE_MAX_S = 5.0
_JOBS_PER_WRITE = 500
# The time in seconds after which a loop counts as stalled that no lease depends on. Repeats of runs
# with large suites take minutes.
_STALE_AFTER_S = 900.0
# If the clocks differ by more, the reference clock was set; smaller differences are drift.
_CLOCK_STEP = timedelta(seconds=1)


class MaintenanceLoops:
    """Ends expired leases, queues repeats, repeats lost wake-ups, and sets the clock.

    Each of these is a loop of its own, so that an error or a delay of one does not affect the
    others.
    """

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
        suites: SuiteParser,
        loops: LoopRegistry,
        interval_s: float,
    ) -> None:
        """Create the loops; `running` starts them.

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
            suites: Parses the suites of runs.
            loops: The registry of the master's loops.
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
        self._suites = suites
        self._interval_s = interval_s
        self._last_expiry_s = time.monotonic()
        self._last_record_s = float("-inf")
        # Held while leases expire and while the clock is set. No lease may expire between a step of
        # the clock and the extension of the leases that follows it.
        self._clock_lock = asyncio.Lock()
        max_age_s = settings.loop_max_age_s
        expiry = loops.add("lease_expiry", stale_after_s=max_age_s + interval_s, is_essential=True)
        clock_s, wakeups_s = (
            max(interval_s, every_s) for every_s in (_CLOCK_EVERY_S, _LOST_WAKEUPS_EVERY_S)
        )
        clocks = loops.add("clock", stale_after_s=max_age_s + clock_s, is_essential=True)
        repeats = loops.add("repeats", stale_after_s=_STALE_AFTER_S + interval_s)
        wakeups = loops.add("lost_wakeups", stale_after_s=max_age_s + wakeups_s)
        self._jobs = ItemGuard(expiry, passed_on=UNAVAILABLE)
        self._runs = ItemGuard(repeats, passed_on=UNAVAILABLE)
        self._parts = ItemGuard(wakeups, passed_on=UNAVAILABLE)
        self._loops = (
            AsyncLoop(expiry, self.expire_in_time, _pacing(interval_s), expected=UNAVAILABLE),
            AsyncLoop(repeats, self.add_repeats, _pacing(interval_s), expected=UNAVAILABLE),
            AsyncLoop(wakeups, self.repeat_lost_wakeups, _pacing(wakeups_s), expected=UNAVAILABLE),
            AsyncLoop(clocks, self._set_clock, _pacing(clock_s), expected=UNAVAILABLE),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loops for the duration of the context."""
        await self._set_clock()
        self._last_expiry_s = time.monotonic()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._record_end)
            for loop in self._loops:
                await stack.enter_async_context(loop.running())
            yield

    async def _record_end(self) -> None:
        """Record that the master was listening until now, unless it could not receive heartbeats.

        The next master then extends the leases by that period as well.
        """
        now = self._clock()
        if self._could_not_listen(time.monotonic()):
            return
        try:
            await self.record_listening(now)
        except UNAVAILABLE as error:
            _log.warning("could not record the end of the master: %s", error)

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
        """End attempts whose lease has expired or whose deadline has passed.

        A job whose attempt cannot be ended does not keep the leases of others.
        """
        await self._expire_leases_until(self._clock())

    async def _expire_leases_until(self, now: datetime) -> None:
        backoff_s = self._settings.retry_backoff_s

        async def expire(job_ids: Sequence[UUID]) -> None:
            await self._writer.write(lambda work: leases.expire_overdue(work, job_ids, backoff_s))

        overdue = await self._reader.read(lambda c: leases.overdue_jobs(c, now))
        for batch in chunks(overdue, _JOBS_PER_WRITE):
            await self._jobs.run_together(batch, expire)

    async def expire_in_time(self) -> None:
        """Extend leases if this master could not receive heartbeats, then end expired ones.

        Only this method records that the master is listening, after it has extended the leases. A
        record from elsewhere could hide the period by which they must be extended. The times of
        the decision are used throughout, because the process may be suspended during the pass.
        """
        async with self._clock_lock:
            now, now_s = self._clock(), time.monotonic()
            if self._could_not_listen(now_s):
                # The database was unreachable or the process was suspended.
                _log.warning("this master could not receive heartbeats; leases are extended")
                await self.resume()
            elif now_s - self._last_record_s >= _LISTENING_EVERY_S:
                await self.record_listening(now)
                self._last_record_s = now_s
            await self._expire_leases_until(now)
        self._last_expiry_s = now_s

    def _could_not_listen(self, now_s: float) -> bool:
        longest_s = max(self._settings.lease_s / 2, 2 * self._interval_s)
        return now_s - self._last_expiry_s > longest_s

    async def record_listening(self, until: datetime) -> None:
        """Record that this master could receive heartbeats until a time."""
        await self._writer.write(lambda work: lease_extension.record_listening(work, until))

    async def add_repeats(self) -> None:
        """Queue control encodes, and queue repeats in runs whose medians are not precise enough."""
        now, every = self._clock(), control_encodes.EVERY
        for due in await self._reader.read(lambda c: adaptive_repeats.find_due_runs(c, now, every)):
            await self._runs.run_async(
                f"run {due.run_id} on {due.node}", partial(self._add_repeats_of, due)
            )

    async def _add_repeats_of(self, due: adaptive_repeats.RunDueForRepeats) -> None:
        try:
            outline = await self._suites.outline(due.run_id, due.suite)
        except BusyError:
            # Clients have submitted many suites. The next pass tries again.
            return
        except UnprocessableError as error:
            if not isinstance(error.__cause__, SuiteError):
                raise
            # The suite was accepted by an older release. Its queued jobs are still run.
            _log.exception(
                "run %s gets no more repeats: this release rejects its suite", due.run_id
            )
            await self._writer.write(partial(_settle, due.run_id))
            return
        policy = adaptive_repeats.RepeatPolicy(
            outline, control_encodes.EVERY, self._settings.priority_step_s
        )
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

        This also records that the nodes of parked claims are alive, marks runs as finished if all
        their jobs have ended, and deactivates requirement sets without queued jobs.
        """
        await self._parts.run_async("wake-ups", self._wake_claims)
        await self._parts.run_async("last-seen times", self._record_seen)
        await self._parts.run_async("ends of runs", self._finish_runs)

    async def _wake_claims(self) -> None:
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

    async def _record_seen(self) -> None:
        names = self._parked_claims.waiting_nodes()
        if names:
            await self._writer.write(lambda work: self._last_seen.record_seen(work, names))

    async def _finish_runs(self) -> None:
        await self._writer.write(lambda work: runs.finish_all(work.connection, work.now))

    async def _set_clock(self) -> None:
        """Set the clock to that of the database if masters share it, otherwise to the host's.

        If the reference clock was set, leases would expire immediately or much too late. Therefore,
        all leases are then extended to their full duration.
        """
        if not isinstance(self._clock, SteadyClock):
            return
        async with self._clock_lock:
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


def _pacing(interval_s: float) -> Pacing:
    # The first pass is delayed, because the start of the master has just extended all leases.
    return Pacing(
        interval_s=interval_s, is_first_delayed=True, retry_pause_max_s=_RETRY_PAUSE_MAX_S
    )


def _settle(run_id: UUID, work: UnitOfWork) -> None:
    runs.settle_nodes(work.connection, run_id, None)
    work.job_ended(run_id)
