"""Tests of the extension of leases after periods in which no master could receive heartbeats."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from ffrtmp_master.background import maintenance
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from in_process_master import MasterHarness, SetClock, running_master

LEASE_S = 60
INTERVAL_S = 14
EXPIRY, WAKEUPS = "expire_in_time", "repeat_lost_wakeups"
OUTAGE_S = 2 * LEASE_S


def lease_end(harness: MasterHarness, claim: Any) -> datetime | None:
    end = harness.job(claim["job"]["id"])["lease_expires_at"]
    return None if end is None else datetime.fromisoformat(end)


def listen(harness: MasterHarness) -> None:
    """Record that a master is listening, which its maintenance does every few seconds."""
    with harness.client.portal() as portal:
        portal.call(harness.services.maintenance.record_listening, harness.clock.now)


def run_loop(harness: MasterHarness, name: str) -> None:
    """Run a pass of the loop that ends leases or of the loop that repeats lost wake-ups."""
    with harness.client.portal() as portal:
        portal.call(getattr(harness.services.maintenance, name))


@pytest.fixture
def farm(
    migrated: Settings, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[MasterHarness]]:
    """Two masters whose loops are run by the test, with the clock of the test."""
    monkeypatch.setattr(maintenance, "time", SimpleNamespace(monotonic=lambda: clock().timestamp()))
    with ExitStack() as stack:
        # The first passes begin after the interval, which is longer than the test.
        yield [
            stack.enter_context(running_master(Services(migrated, clock, INTERVAL_S), clock))
            for _ in range(2)
        ]


@pytest.fixture
def claim(ready_harness: MasterHarness) -> Any:
    """The claim of an agent, which has sent one heartbeat."""
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    assert ready_harness.heartbeat(claim).is_success
    return claim


def test_a_restart_beside_a_listening_master_extends_no_lease(
    ready_harness: MasterHarness, claim: Any
) -> None:
    granted = lease_end(ready_harness, claim)
    for _ in range(10):
        ready_harness.clock.advance(5)
        listen(ready_harness)
    with ready_harness.restarted():
        assert lease_end(ready_harness, claim) == granted
    for _ in range(3):
        ready_harness.clock.advance(5)
        listen(ready_harness)
    with ready_harness.restarted() as other:
        other.run_maintenance()
        assert ready_harness.job(claim["job"]["id"])["state"] == "queued"


def test_a_small_difference_of_clocks_extends_no_lease(
    ready_harness: MasterHarness, claim: Any
) -> None:
    granted = lease_end(ready_harness, claim)
    ready_harness.clock.advance(10)
    listen(ready_harness)
    ready_harness.clock.advance(-1)
    with ready_harness.restarted():
        assert lease_end(ready_harness, claim) == granted


def test_a_clock_that_was_set_back_without_a_master_begins_every_lease_again(
    ready_harness: MasterHarness, claim: Any
) -> None:
    ready_harness.clock.advance(-3600)
    with ready_harness.restarted() as harness:
        wanted = harness.clock.now + timedelta(seconds=LEASE_S, microseconds=-1)
        assert lease_end(harness, claim) == wanted


def test_a_lease_is_extended_by_the_period_without_a_master(
    ready_harness: MasterHarness, claim: Any
) -> None:
    granted = lease_end(ready_harness, claim)
    assert granted is not None
    ready_harness.clock.advance(20)
    listen(ready_harness)
    ready_harness.clock.advance(500)
    with ready_harness.restarted() as harness:
        harness.run_maintenance()
        assert lease_end(harness, claim) == granted + timedelta(seconds=500)
        harness.clock.advance(LEASE_S - 21)
        harness.run_maintenance()
        assert harness.heartbeat(claim).is_success


def test_a_lease_is_extended_only_once_without_a_heartbeat(
    ready_harness: MasterHarness, claim: Any
) -> None:
    ready_harness.clock.advance(100)
    with ready_harness.restarted() as first:
        extended = lease_end(first, claim)
        first.clock.advance(100)
        with first.restarted() as second:
            assert lease_end(second, claim) == extended
            second.run_maintenance()
            assert second.job(claim["job"]["id"])["state"] == "queued"


def test_a_heartbeat_permits_another_extension(ready_harness: MasterHarness, claim: Any) -> None:
    ready_harness.clock.advance(100)
    with ready_harness.restarted() as first:
        assert first.heartbeat(claim).is_success
        first.clock.advance(100)
        with first.restarted() as second:
            second.run_maintenance()
            assert second.heartbeat(claim).is_success


@pytest.mark.parametrize(("up_s", "down_s"), [(50, 5), (10, 10), (1, 50)])
def test_a_master_that_restarts_repeatedly_ends_the_lease_of_a_dead_agent(
    ready_harness: MasterHarness, claim: Any, up_s: int, down_s: int
) -> None:
    begin = ready_harness.clock.now
    while ready_harness.job(claim["job"]["id"])["state"] == "running":
        ready_harness.clock.advance(down_s)
        with ready_harness.restarted() as harness:
            harness.clock.advance(up_s)
            listen(harness)
            harness.run_maintenance()
        elapsed_s = (ready_harness.clock.now - begin).total_seconds()
        assert elapsed_s <= 3 * LEASE_S
    assert ready_harness.clock.now - begin > timedelta(seconds=LEASE_S)


def test_an_expired_lease_is_not_extended(ready_harness: MasterHarness, claim: Any) -> None:
    ready_harness.clock.advance(LEASE_S + 1)
    listen(ready_harness)
    ready_harness.clock.advance(10)
    with ready_harness.restarted() as harness:
        harness.run_maintenance()
        assert harness.job(claim["job"]["id"])["state"] == "queued"


def test_a_clock_that_was_set_begins_every_lease_again(
    ready_harness: MasterHarness, claim: Any
) -> None:
    for step_s in (-7200, 10_000):
        ready_harness.clock.advance(step_s)
        with ready_harness.client.portal() as portal:
            portal.call(resume_after_step, ready_harness)
        wanted = ready_harness.clock.now + timedelta(seconds=LEASE_S, microseconds=-1)
        assert lease_end(ready_harness, claim) == wanted


async def resume_after_step(harness: MasterHarness) -> None:
    await harness.services.maintenance.resume(is_clock_set=True)


def test_a_graceful_stop_records_that_the_master_was_listening(
    ready_harness: MasterHarness, claim: Any
) -> None:
    granted = lease_end(ready_harness, claim)
    assert granted is not None
    with ready_harness.restarted() as other:
        other.clock.advance(30)
    ready_harness.clock.advance(5)
    with ready_harness.restarted() as harness:
        assert lease_end(harness, claim) == granted + timedelta(seconds=5)


@pytest.fixture
def held(farm: list[MasterHarness]) -> Any:
    """The claim of an agent that has sent a heartbeat, while both masters run their loops."""
    farm[0].register("worker1")
    farm[0].upload()
    farm[0].submit()
    held = farm[0].claim("worker1")
    farm[0].clock.advance(LEASE_S / 3)
    assert farm[0].heartbeat(held).is_success
    for harness in farm:
        run_loop(harness, EXPIRY)
    return held


@pytest.mark.parametrize("masters", [(0,), (0, 1)])
@pytest.mark.parametrize("passes", list(permutations([EXPIRY, WAKEUPS])))
def test_leases_survive_an_outage_in_whatever_order_loops_resume(
    farm: list[MasterHarness], held: Any, masters: tuple[int, ...], passes: tuple[str, ...]
) -> None:
    farm[0].clock.advance(OUTAGE_S)
    for name in passes:
        for number in masters:
            run_loop(farm[number], name)
    assert farm[-1].heartbeat(held).is_success
    for number in masters:
        run_loop(farm[number], EXPIRY)
    assert farm[0].job(held["job"]["id"])["state"] == "running"


def test_one_master_after_the_other_resumes_after_an_outage(
    farm: list[MasterHarness], held: Any
) -> None:
    farm[0].clock.advance(OUTAGE_S)
    for name in (WAKEUPS, EXPIRY):
        run_loop(farm[1], name)
    farm[0].clock.advance(5)
    for name in (WAKEUPS, EXPIRY):
        run_loop(farm[0], name)
    assert farm[0].heartbeat(held).is_success


def test_a_lease_is_not_extended_by_a_suspended_master_beside_a_listening_one(
    farm: list[MasterHarness], held: Any
) -> None:
    for _ in range(7):
        farm[0].clock.advance(10)
        run_loop(farm[1], EXPIRY)
    run_loop(farm[0], EXPIRY)
    assert farm[0].job(held["job"]["id"])["state"] == "queued"


def test_leases_survive_a_suspension_in_the_middle_of_a_pass(
    farm: list[MasterHarness], held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = farm[0]
    harness.clock.advance(10)
    writer = harness.services.writer
    write, pauses_s = writer.write, [OUTAGE_S]

    def write_after_pause(operation: Any) -> Any:
        while pauses_s:
            harness.clock.advance(pauses_s.pop())
        return write(operation)

    monkeypatch.setattr(writer, "write", write_after_pause)
    for _ in range(2):
        run_loop(harness, EXPIRY)
    assert not pauses_s, "the first pass was suspended"
    assert harness.heartbeat(held).is_success


def test_the_end_of_a_suspended_master_does_not_hide_its_suspension(
    farm: list[MasterHarness], held: Any
) -> None:
    run_loop(farm[0], EXPIRY)
    farm[0].clock.advance(OUTAGE_S)
    with running_master(
        Services(farm[0].services.settings, farm[0].clock, INTERVAL_S), farm[0].clock
    ) as first:
        # Nothing was recorded since the outage; the start of this master extends the lease.
        run_loop(first, EXPIRY)
        assert first.heartbeat(held).is_success
        first.clock.advance(OUTAGE_S)
    run_loop(farm[0], EXPIRY)
    assert farm[0].heartbeat(held).is_success
