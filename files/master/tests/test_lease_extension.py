"""Tests of the extension of leases after periods in which no master could receive heartbeats."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from in_process_master import MasterHarness

LEASE_S = 60


def lease_end(harness: MasterHarness, claim: Any) -> datetime | None:
    end = harness.job(claim["job"]["id"])["lease_expires_at"]
    return None if end is None else datetime.fromisoformat(end)


def listen(harness: MasterHarness) -> None:
    """Do what the maintenance of a listening master does every few seconds."""
    with harness.client.portal() as portal:
        portal.call(harness.services.maintenance.repeat_lost_wakeups)


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
