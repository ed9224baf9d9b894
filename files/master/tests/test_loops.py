"""Every loop of the master, with an item that always fails and with a dependency that stops.

Each loop must handle its other items, export its state, make the alert's expression true while it
is stalled, and recover without a restart.
"""

import asyncio
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import factories
import in_process_master
import psycopg
import pytest
from databases import only
from ffrtmp_master.auth import authentication
from ffrtmp_master.background import event_feed, log_feed, maintenance, retention
from ffrtmp_master.clock import SteadyClock, utc_now
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import events
from ffrtmp_master.store.statements.postgresql import CHANNEL
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopStatus
from ffrtmp_shared.loop_runner import Pacing
from in_process_master import MasterHarness, SetClock
from msgspec.structs import replace
from polling import TIMEOUT_S, wait_until
from prometheus_client.parser import text_string_to_metric_families

_QUICK_S = 0.02


class UnreliableClock(SteadyClock):
    """A clock that cannot be set while it is broken."""

    is_broken = False

    def set(self, now: datetime) -> timedelta:
        if self.is_broken:
            raise OverflowError("date value out of range")
        return super().set(now)


class Farm:
    """A running master on SQLite, whose database the test manipulates directly."""

    def __init__(self, harness: MasterHarness, file: Path) -> None:
        self.harness = harness
        self.services = harness.services
        self._file = file
        self._streams: list[Any] = []

    def sql(self, statement: str, *values: object) -> list[Any]:
        connection = sqlite3.connect(self._file, timeout=30, isolation_level=None)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    @contextmanager
    def lost_table(self, table: str) -> Iterator[None]:
        """Remove a table that the loop depends on, for the duration of the context."""
        self.sql(f"ALTER TABLE {table} RENAME TO {table}_lost")
        yield
        self.sql(f"ALTER TABLE {table}_lost RENAME TO {table}")

    def refuse(self, operation: str, table: str, condition: str) -> None:
        """Make every statement fail that changes the rows that meet a condition."""
        self.sql(
            f"CREATE TRIGGER refused BEFORE {operation} ON {table} WHEN {condition}"
            " BEGIN SELECT RAISE(ABORT, 'this item always fails'); END"
        )

    def allow(self) -> None:
        self.sql("DROP TRIGGER refused")

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self.harness.client.portal() as portal:
            return portal.call(function, *arguments)

    def keep_open(self, context: Any) -> Any:
        """Enter an asynchronous context in a task that ends with the farm."""
        entered: list[Any] = []
        is_entered = threading.Event()

        async def hold() -> None:
            async with context as value:
                entered.append(value)
                is_entered.set()
                await asyncio.Event().wait()

        portal = self.harness.client.portal()
        future = portal.__enter__().start_task_soon(hold)
        self._streams.append((portal, future))
        assert is_entered.wait(TIMEOUT_S)
        return entered[0]

    def close(self) -> None:
        for portal, future in self._streams:
            future.cancel()
            portal.__exit__(None, None, None)

    def metrics(self, loop: str) -> dict[str, float]:
        """Return the exported metrics of a loop, by the end of their names."""
        page = self.services.metric_page.render("")[0].decode()
        return {
            sample.name.partition("_loop_")[2]: sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.labels.get("loop") == loop
        }

    def is_alerting(self, loop: str) -> bool:
        """Evaluate the expression of the alert LoopStalled on the exported metrics."""
        found = self.metrics(loop)
        age_s = time.time() - found["last_success_timestamp_seconds"]
        return age_s > found["stale_after_seconds"]


def job_state(farm: Farm, job_id: str) -> str:
    state: str = farm.harness.job(job_id)["state"]
    return state


def hex_id(uuid: str) -> str:
    return uuid.replace("-", "")


class Case(ABC):
    """An item that always fails, another item, and the table that the loop depends on."""

    table = ""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm

    @abstractmethod
    def prepare(self) -> None:
        """Create both items."""

    def is_good_handled(self) -> bool:
        return True

    def is_bad_handled(self) -> bool:
        return True

    def heal(self) -> None:
        """Let the item that always fails succeed."""
        self.farm.allow()


class LeaseExpiry(Case):
    """A job whose attempt cannot be ended, and another one."""

    table = "jobs"

    def prepare(self) -> None:
        self.farm.harness.register("worker2")
        for _ in range(2):
            self.farm.harness.submit()
        self.bad = self.farm.harness.claim("worker1")["job"]["id"]
        self.good = self.farm.harness.claim("worker2")["job"]["id"]
        self.farm.refuse("UPDATE", "jobs", f"OLD.id = '{hex_id(self.bad)}'")
        self.farm.harness.clock.advance(3600)

    def is_good_handled(self) -> bool:
        return job_state(self.farm, self.good) == "queued"

    def is_bad_handled(self) -> bool:
        return job_state(self.farm, self.bad) == "queued"


class Repeats(Case):
    """A run that cannot get more jobs, and another one."""

    table = "runs"

    def prepare(self) -> None:
        text = factories.suite(more="precision: {interval: 0.05, max_repeats: 12}\n")
        self.farm.sql("CREATE TABLE bad_runs (id TEXT)")
        self.farm.refuse(
            "INSERT", "jobs", "NEW.repeat > 1 AND NEW.run_id IN (SELECT id FROM bad_runs)"
        )
        self.bad = self.farm.harness.run(text)["id"]
        self.farm.sql("INSERT INTO bad_runs VALUES (?)", hex_id(self.bad))
        self.good = self.farm.harness.run(text)["id"]
        for _ in range(2):
            claim = self.farm.harness.claim("worker1")
            self.farm.harness.clock.advance(10)
            assert self.farm.harness.result(claim).is_success

    def _has_repeats(self, run_id: str) -> bool:
        return bool(self.farm.harness.run_now(run_id)["counts"]["queued"])

    def is_good_handled(self) -> bool:
        return self._has_repeats(self.good)

    def is_bad_handled(self) -> bool:
        return self._has_repeats(self.bad)


class LostWakeups(Case):
    """A node whose last-seen time cannot be written, and a run whose end was lost."""

    table = "requirements"

    def prepare(self) -> None:
        run = self.farm.harness.run()
        assert self.farm.harness.result(self.farm.harness.claim("worker1")).is_success
        self.farm.refuse("UPDATE", "nodes", "NEW.last_seen_at > OLD.last_seen_at")
        body = {"node": "worker1", "slot": 1, "wait_s": 20}
        self.claim = threading.Thread(
            target=self.farm.harness.call, args=("worker1", "POST", "/v1/claims", body)
        )
        self.claim.start()
        wait_until(lambda: len(self.farm.services.parked_claims) == 1, "the claim is parked")
        self.farm.harness.clock.advance(3600)
        self.run_id = run["id"]
        self.farm.sql("UPDATE runs SET finished_at = NULL WHERE id = ?", hex_id(self.run_id))

    def is_good_handled(self) -> bool:
        return self.farm.harness.run_now(self.run_id)["finished_at"] is not None

    def is_bad_handled(self) -> bool:
        ((seen,),) = self.farm.sql("SELECT last_seen_at FROM nodes")
        return str(seen) > "2026-01-01 00:30"


class ClockSetting(Case):
    """The loop has a single item: the clock, which cannot be set."""

    def prepare(self) -> None:
        self.clock: Any = self.farm.services.clock
        self.clock.is_broken = True

    def heal(self) -> None:
        self.clock.is_broken = False


class Retention(Case):
    """A job that cannot be removed, and an expired artifact."""

    table = "jobs"

    def prepare(self) -> None:
        self.farm.harness.submit()
        claim = self.farm.harness.claim("worker1")
        self.job = claim["job"]["id"]
        path = f"/v1/jobs/{self.job}/artifacts/ffmpeg.log"
        self.farm.harness.ok("worker1", "PUT", path, content=b"log", params={"attempt": "1"})
        assert self.farm.harness.result(claim).is_success
        self.farm.refuse("DELETE", "jobs", f"OLD.id = '{hex_id(self.job)}'")
        self.farm.harness.clock.advance(3 * 86_400)

    def is_good_handled(self) -> bool:
        return self.farm.sql("SELECT * FROM artifacts") == []

    def is_bad_handled(self) -> bool:
        return self.farm.sql("SELECT * FROM jobs") == []


class Events(Case):
    """A transition to a state that this release does not know, and further transitions."""

    table = "transitions"

    def prepare(self) -> None:
        feed = self.farm.services.event_feed
        self.farm.keep_open(feed.subscribe(events.EVERYTHING, None))
        job = self.farm.harness.submit()["id"]
        self.farm.sql(
            "INSERT INTO transitions (transaction_id, job_id, before, after, attempt, at, reason)"
            " SELECT transaction_id, job_id, 'queued', 'paused', 1, at, 'x' FROM transitions"
            " WHERE job_id = ?",
            hex_id(job),
        )
        self.good = self.farm.harness.submit()["id"]

    def is_good_handled(self) -> bool:
        found = self.farm.services.event_feed.since(0) or []
        return self.good in [str(getattr(event.body, "job_id", "")) for event in found]

    def heal(self) -> None:
        self.farm.sql("DELETE FROM transitions WHERE after = 'paused'")


class Logs(Case):
    """A job in a state that this release does not know, whose log is followed, and another one."""

    table = "job_logs"

    def prepare(self) -> None:
        self.farm.harness.register("worker2")
        for _ in range(2):
            self.farm.harness.submit()
        claims = [self.farm.harness.claim(node) for node in ("worker1", "worker2")]
        self.bad, self.good = (claim["job"]["id"] for claim in claims)
        self.farm.sql("UPDATE jobs SET state = 'paused' WHERE id = ?", hex_id(self.bad))
        for claim in claims:
            feed = self.farm.services.log_feed
            subscription = as_async(feed.subscribe((UUID(claim["job"]["id"]), 1)))
            self.subscriber = self.farm.keep_open(subscription)
            self.farm.sql(
                "INSERT INTO job_logs (job_id, attempt, offset_bytes, piece)"
                " VALUES (?, 1, 0, 'text')",
                hex_id(claim["job"]["id"]),
            )

    def is_good_handled(self) -> bool:
        return bool(self.subscriber._event.is_set())

    def heal(self) -> None:
        self.farm.sql("UPDATE jobs SET state = 'leased' WHERE state = 'paused'")


class TokenUses(Case):
    """A token whose use cannot be recorded, and another one."""

    table = "credentials"

    def prepare(self) -> None:
        self.farm.refuse("UPDATE", "credentials", "OLD.name = 'submitter'")
        # A use is not recorded if an earlier one was recorded less than a minute ago.
        self.farm.harness.clock.advance(3600)
        self.farm.harness.submit()
        assert self.farm.harness.call("viewer", "GET", "/v1/runs").is_success

    def _is_recorded(self, name: str) -> bool:
        rows = self.farm.sql("SELECT last_used_at FROM credentials WHERE name = ?", name)
        return str(rows[0][0] or "") > "2026-01-01 00:30"

    def is_good_handled(self) -> bool:
        return self._is_recorded("viewer")

    def is_bad_handled(self) -> bool:
        self.farm.harness.submit()
        return self._is_recorded("submitter")


CASES: dict[str, Any] = {
    "lease_expiry": LeaseExpiry,
    "repeats": Repeats,
    "lost_wakeups": LostWakeups,
    "clock": ClockSetting,
    "retention": Retention,
    "event_feed": Events,
    "log_feed": Logs,
    "token_uses": TokenUses,
}
# These loops have tests of their own below.
OTHERS = {"writer", "notifications"}


@asynccontextmanager
async def as_async(context: AbstractContextManager[Any]) -> AsyncIterator[Any]:
    with context as value:
        yield value


@pytest.fixture
def quick_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses of all loops, and those before an item or a failed pass is retried."""
    for module, name in (
        (maintenance, "_LOST_WAKEUPS_EVERY_S"),
        (maintenance, "_CLOCK_EVERY_S"),
        (retention, "_INTERVAL_S"),
        (retention, "_CONTENT_INTERVAL_S"),
        (event_feed, "_POLL_INTERVAL_S"),
        (log_feed, "_POLL_INTERVAL_S"),
        (authentication, "_RECORD_USES_INTERVAL_S"),
    ):
        monkeypatch.setattr(module, name, _QUICK_S)
    defaults: Any = ItemGuard.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "retry_pause_s", _QUICK_S)
    monkeypatch.setitem(defaults, "retry_pause_max_s", 2.0)
    pauses: Any = Pacing.__init__.__kwdefaults__
    monkeypatch.setitem(pauses, "retry_pause_s", _QUICK_S)
    monkeypatch.setitem(pauses, "retry_pause_max_s", _QUICK_S)
    monkeypatch.setattr(maintenance, "_RETRY_PAUSE_MAX_S", _QUICK_S)


@pytest.fixture
def farm(migrated: Settings, quick_loops: None, request: pytest.FixtureRequest) -> Iterator[Farm]:
    clock: Any = SetClock()
    if request.node.callspec.params.get("loop") == "clock":
        clock = UnreliableClock(utc_now())
    kept = replace(migrated, jobs_keep_days=1, artifacts_keep_days=1)
    services = Services(kept, clock, maintenance_interval_s=_QUICK_S)
    with in_process_master.running_master(services, clock) as harness:
        harness.register("worker1")
        harness.upload()
        farm = Farm(harness, Path(migrated.database_url.removeprefix("sqlite:///")))
        yield farm
        farm.close()


def test_every_loop_of_the_master_is_tested(migrated: Settings) -> None:
    services = Services(migrated, SetClock())
    names = set(services.loops.names())
    expected = {*CASES, *OTHERS}
    if not migrated.is_shared:
        expected.remove("notifications")
    assert names == expected


def status_of(farm: Farm, loop: str) -> LoopStatus:
    status = farm.services.loops.find(loop)
    assert status is not None
    return status


@only("sqlite")
@pytest.mark.parametrize("loop", CASES)
def test_a_loop_survives_a_failing_item_and_a_lost_dependency(
    farm: Farm, loop: str, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    case, status = CASES[loop](farm), status_of(farm, loop)
    case.prepare()
    wait_until(case.is_good_handled, "the other item is handled")
    wait_until(lambda: farm.metrics(loop)["failures_total"] >= 1, "the failure is counted")
    wait_until(lambda: loop in caplog.text, "the failure is logged")
    case.heal()
    wait_until(case.is_bad_handled, "the item recovers")

    # The loop loses what it depends on. Its limit is short, because the test cannot wait a minute.
    status.stale_after_s = 0.3
    table = case.table
    if loop == "clock":
        case.prepare()
        wait_until(lambda: farm.is_alerting(loop), "the alert is raised")
        case.heal()
    else:
        with farm.lost_table(table):
            if loop == "token_uses":
                farm.services.authenticator._used.add("viewer")
            wait_until(lambda: farm.is_alerting(loop), "the alert is raised")
    wait_until(lambda: not farm.is_alerting(loop), "the loop recovers")


@only("sqlite")
@pytest.mark.parametrize("loop", ["clock"])
def test_a_stalled_loop_that_leases_depend_on_makes_the_master_unready(
    farm: Farm, loop: str, engine: str
) -> None:
    assert farm.harness.call(None, "GET", "/readyz").status_code == 200
    clock: Any = farm.services.clock
    status_of(farm, loop).stale_after_s = 0.3
    clock.is_broken = True

    def status_and_text() -> tuple[int, str]:
        answer = farm.harness.call(None, "GET", "/readyz")
        return answer.status_code, answer.text

    wait_until(lambda: status_and_text()[0] == 503, "the master is not ready")
    assert f"the loop {loop}, on which leases depend, has not completed" in status_and_text()[1]
    clock.is_broken = False
    wait_until(lambda: status_and_text()[0] == 200, "the master is ready again")


@only("sqlite")
@pytest.mark.parametrize("loop", ["writer"])
def test_the_writer_survives_a_failing_operation_and_a_locked_database(
    farm: Farm, loop: str, engine: str
) -> None:
    writer, status = farm.services.writer, status_of(farm, loop)

    def fail(_work: Any) -> None:
        raise RecursionError

    with pytest.raises(RecursionError):
        farm.call(writer.write, fail)
    # An error in a callback must not keep any caller waiting.
    farm.services.writer._watch.committed = fail
    farm.harness.submit()
    farm.services.writer._watch.committed = farm.services._committed
    assert farm.metrics(loop)["failures_total"] >= 1
    farm.harness.submit()

    status.stale_after_s = 1.5
    blocking = sqlite3.connect(farm._file, isolation_level=None)
    blocking.execute("BEGIN IMMEDIATE")
    submitting = threading.Thread(target=farm.harness.submit)
    submitting.start()
    wait_until(lambda: farm.is_alerting(loop), "the alert is raised")
    assert status in farm.services.loops.stalled_essentials()
    blocking.execute("ROLLBACK")
    blocking.close()
    submitting.join(TIMEOUT_S)
    wait_until(lambda: not farm.is_alerting(loop), "the writer recovers")


@only("postgresql")
def test_the_listener_survives_a_garbled_notification_and_a_lost_server(
    migrated: Settings, quick_loops: None, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SetClock()
    services = Services(migrated, clock, maintenance_interval_s=3600)
    password = migrated.database_password()
    received: list[Any] = []
    with in_process_master.running_master(services, clock) as harness:
        wake_all = services.parked_claims.wake_all

        def record() -> None:
            received.append(time.monotonic())
            wake_all()

        services.parked_claims.wake_all = record  # type: ignore[method-assign]
        status = services.loops.find("notifications")
        assert status is not None
        with psycopg.connect(migrated.database_url, password=password, autocommit=True) as sender:
            wait_until(lambda: _listens(sender), "the listener is connected")
            count = len(received)
            sender.execute(f"NOTIFY {CHANNEL}, '{{\"origin\": 7}}'")
            sender.execute(f"NOTIFY {CHANNEL}, 'not json'")
            sender.execute(f'NOTIFY {CHANNEL}, \'{{"origin": "another", "much": true}}\'')
            wait_until(lambda: len(received) >= count + 3, "all notifications are handled")
            assert status.read().failures == 2
            count = len(received)
            sender.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
            wait_until(lambda: status.read().failures >= 3, "the lost connection is counted")
            wait_until(
                lambda: len(received) > count, "the listener reconnects and wakes all claims"
            )
        assert harness.call(None, "GET", "/readyz").status_code == 200
    assert "cannot be decoded" in caplog.text


def _listens(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    ).fetchone()
    return row is not None and row[0] == 1
