"""Every loop of the master, with an item that always fails and with a dependency that stops.

Each loop must handle its other items, export its state, make the alert's expression true while it
is stalled, and recover without a restart.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import in_process_master
import psycopg
import pytest
from databases import only
from ffrtmp_master.auth import authentication
from ffrtmp_master.background import event_feed, log_feed, maintenance, retention
from ffrtmp_master.clock import utc_now
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.statements.postgresql import CHANNEL
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopStatus
from ffrtmp_shared.loop_runner import Pacing
from in_process_master import SetClock
from msgspec.structs import replace
from polling import TIMEOUT_S, wait_until

from .loop_cases import CASES, Farm, UnreliableClock

_QUICK_S = 0.02

# These loops have tests of their own below.
OTHERS = {"writer", "notifications"}


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


@pytest.mark.slow
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


@pytest.mark.slow
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
