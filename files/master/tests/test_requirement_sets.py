"""Tests of requirement sets: which a claim examines, their maximum number, and their removal."""

from collections.abc import Iterator
from typing import Any

import factories
import pytest
from databases import only, writing
from ffrtmp_master.queue import batches, pending_reason_counts, requests
from ffrtmp_master.queue.liveness import LastSeenThrottle
from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.schema import requirements
from ffrtmp_master.store.unit_of_work import UnitOfWork
from in_process_master import MasterHarness, SetClock, running_master
from msgspec.structs import replace
from sqlalchemy import Connection, func, select

CANCELED = 300


def submit_with_own_set(harness: MasterHarness, number: int) -> Any:
    # The node meets each of these sets, because it has at least this much memory.
    return harness.submit(requirements={"memory_bytes_min": number + 1})


def maintain(harness: MasterHarness) -> None:
    with harness.client.portal() as portal:
        portal.call(harness.services.maintenance.repeat_lost_wakeups)


def stored_sets(harness: MasterHarness) -> int:
    query = select(func.count()).select_from(requirements)
    with harness.client.portal() as portal:
        return portal.call(harness.services.reader.read, lambda c: c.execute(query).scalar_one())


def cancel_many(harness: MasterHarness, count: int = CANCELED) -> None:
    jobs = [submit_with_own_set(harness, number) for number in range(count)]
    for job in jobs:
        harness.ok("submitter", "POST", f"/v1/jobs/{job['id']}/cancel")


@pytest.mark.slow
@only("sqlite")
def test_canceled_jobs_do_not_add_to_the_cost_of_a_claim(
    ready_harness: MasterHarness, migrated: Settings, clock: SetClock
) -> None:
    catalog = RequirementCatalog()
    caches = batches.BatchCaches(catalog, LastSeenThrottle(migrated.node_offline_s))

    def steps() -> int:
        """Count the steps of SQLite's virtual machine for a claim, which is rolled back."""
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        with (
            writing(migrated) as engine,
            engine.connect() as connection,
            connection.begin() as change,
        ):
            work = UnitOfWork(connection, clock(), "test")
            catalog.load_new(work.statements)
            queued = work.statements.queued_requirements()
            catalog.deactivate_others(queued, catalog.step)
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(count, 1)
            claim = requests.ClaimJob("worker1", 1)
            (answer,) = batches.BatchExecutor(caches, migrated).apply(work, [claim])
            driver.set_progress_handler(None, 0)
            change.rollback()
        assert isinstance(answer, ClaimOutcome)
        assert answer.job is not None
        assert len(answer.open_to) <= 1
        return counted

    ready_harness.submit()
    steps()
    few = steps()
    cancel_many(ready_harness)
    steps()
    many = steps()
    assert few > 50, "the steps of SQLite's virtual machine were counted"
    assert many <= few * 1.1


def test_a_claim_examines_and_awaits_only_sets_with_queued_jobs(
    ready_harness: MasterHarness,
) -> None:
    cancel_many(ready_harness, 20)
    maintain(ready_harness)
    catalog = ready_harness.services.catalog
    assert [catalog.activation(number) for number in range(1, 21)] == [None] * 20
    assert ready_harness.claim("worker1") is None
    # A set becomes active again with its next job, on the master that queued it and on others.
    with ready_harness.restarted() as other:
        assert other.claim("worker1") is None
        job = submit_with_own_set(ready_harness, 7)
        assert stored_sets(ready_harness) == 20
        assert ready_harness.claim("worker1")["job"]["id"] == job["id"]


@only("postgresql")
def test_a_job_of_another_master_is_found_before_its_notification(
    ready_harness: MasterHarness,
) -> None:
    with ready_harness.restarted() as other:
        for number in range(5):
            cancel_many(ready_harness, 3)
            maintain(ready_harness)
            maintain(other)
            job = submit_with_own_set(ready_harness, number % 3)
            claim = other.claim("worker1")
            assert claim["job"]["id"] == job["id"]
            assert other.result(claim).is_success


@only("postgresql")
def test_a_job_is_found_if_its_notification_arrives_during_the_claim(
    ready_harness: MasterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ready_harness.restarted() as other:
        cancel_many(ready_harness, 3)
        maintain(ready_harness)
        maintain(other)
        catalog = other.services.catalog
        match = catalog.met_by

        def match_before_the_notification(*arguments: Any) -> Any:
            catalog.deactivate_others([], catalog.step)
            met = match(*arguments)
            catalog.activate(range(1, 4))
            monkeypatch.undo()
            return met

        monkeypatch.setattr(catalog, "met_by", match_before_the_notification)
        job = submit_with_own_set(ready_harness, 0)
        assert other.claim("worker1")["job"]["id"] == job["id"]


def test_a_retried_or_requeued_job_of_an_inactive_set_is_claimed(
    ready_harness: MasterHarness,
) -> None:
    job = submit_with_own_set(ready_harness, 1)
    first = ready_harness.claim("worker1")
    maintain(ready_harness)
    assert ready_harness.fail(first, "network").is_success
    ready_harness.clock.advance(3600)
    ready_harness.register("worker1")
    second = ready_harness.claim("worker1")
    assert second["job"]["id"] == job["id"]
    assert ready_harness.fail(second, "invalid_settings").is_success
    maintain(ready_harness)
    again = ready_harness.ok("submitter", "POST", f"/v1/jobs/{job['id']}/retry")
    assert ready_harness.claim("worker1")["job"]["id"] == again["id"]


def test_a_job_that_its_agent_has_lost_is_claimed_again(ready_harness: MasterHarness) -> None:
    job = submit_with_own_set(ready_harness, 1)
    assert ready_harness.claim("worker1")["attempt"] == 1
    # No job of this set is queued any more.
    maintain(ready_harness)
    maintain(ready_harness)
    again = ready_harness.claim("worker1")
    assert (again["job"]["id"], again["attempt"]) == (job["id"], 2)


def test_the_number_of_sets_with_queued_jobs_is_bounded(
    migrated: Settings, clock: SetClock
) -> None:
    services = Services(replace(migrated, max_requirement_sets=5), clock, 3600)
    with running_master(services, clock) as harness:
        harness.register("worker1")
        harness.upload()
        jobs = [submit_with_own_set(harness, number) for number in range(5)]
        body = harness.call("submitter", "POST", "/v1/jobs", _job_with_set(5))
        assert body.status_code == 422
        assert "master_max_requirement_sets" in body.json()["detail"]
        assert body.json()["detail"].startswith("jobs with 5 different sets")
        assert submit_with_own_set(harness, 4)["state"] == "queued"
        harness.ok("submitter", "POST", f"/v1/jobs/{jobs[0]['id']}/cancel")
        assert submit_with_own_set(harness, 5)["state"] == "queued"
        # A suite with several encoders has several sets.
        harness.register("worker1", *(f"encoder{number}" for number in range(9)), "libx264")
        refused = harness.call("submitter", "POST", "/v1/runs", {"suite": harness.suite()})
        assert refused.status_code == 422
        assert "master_max_requirement_sets" in refused.json()["detail"]


def test_the_number_of_stored_sets_is_bounded(migrated: Settings, clock: SetClock) -> None:
    services = Services(replace(migrated, max_requirement_sets=2), clock, 3600)
    with running_master(services, clock) as harness:
        harness.register("worker1")
        harness.upload()
        for number in range(20):
            job = submit_with_own_set(harness, number)
            harness.ok("submitter", "POST", f"/v1/jobs/{job['id']}/cancel")
        body = harness.call("submitter", "POST", "/v1/jobs", _job_with_set(20))
        assert body.status_code == 422
        assert "master_jobs_keep_days" in body.json()["detail"]
        assert submit_with_own_set(harness, 3)["state"] == "queued"


def _job_with_set(number: int) -> Any:
    return factories.job(requirements={"memory_bytes_min": number + 1})


@pytest.fixture
def outdated(migrated: Settings, clock: SetClock) -> Iterator[MasterHarness]:
    """A master that knows as many sets as can be stored, all of which another master removed."""
    settings = replace(migrated, jobs_keep_days=1, max_requirement_sets=2)
    with running_master(Services(settings, clock, 3600), clock) as harness:
        harness.register("worker1")
        harness.upload()
        for number in range(20):
            job = submit_with_own_set(harness, number)
            harness.ok("submitter", "POST", f"/v1/jobs/{job['id']}/cancel")
        with harness.restarted() as other:
            assert other.claim("worker1") is None
            count_pending(other)
            clock.advance(2 * 86_400)
            remove_old(harness)
            assert stored_sets(harness) == 0
            yield other


def remove_old(harness: MasterHarness) -> None:
    with harness.client.portal() as portal:
        portal.call(harness.services.retention.run_once)


def known_sets(harness: MasterHarness) -> list[int]:
    return [number for number in range(1, 30) if harness.services.catalog.knows(number)]


def count_pending(harness: MasterHarness) -> None:
    def count(connection: Connection) -> None:
        harness.services.pending_reason_counts.count_by_set(connection, [1], [], [])

    with harness.client.portal() as portal:
        portal.call(harness.services.reader.read, count)


def test_a_node_registered_again_after_its_removal_is_matched_anew(
    ready_harness: MasterHarness,
) -> None:
    job = ready_harness.submit(requirements={"labels": {"rack": "b"}})
    ready_harness.register("worker3", labels={"rack": "a"})
    assert ready_harness.claim("worker3") is None
    ready_harness.ok("admin", "DELETE", "/v1/nodes/worker3")
    ready_harness.register("worker3", labels={"rack": "b"})
    assert ready_harness.claim("worker3")["job"]["id"] == job["id"]


def test_a_new_set_is_accepted_after_another_master_has_removed_others(
    outdated: MasterHarness,
) -> None:
    assert len(known_sets(outdated)) == 20
    job = submit_with_own_set(outdated, 25)
    outdated.register("worker1")
    assert outdated.claim("worker1")["job"]["id"] == job["id"]


def test_sets_that_another_master_has_removed_are_forgotten(outdated: MasterHarness) -> None:
    remove_old(outdated)
    assert known_sets(outdated) == []
    job = submit_with_own_set(outdated, 3)
    remove_old(outdated)
    assert len(known_sets(outdated)) == 1
    outdated.register("worker1")
    assert outdated.claim("worker1")["job"]["id"] == job["id"]


def test_the_cache_of_pending_reasons_forgets_removed_sets(
    outdated: MasterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = outdated.services.pending_reason_counts
    assert counts.has_cached(1)
    monkeypatch.setattr(pending_reason_counts, "_CACHED_S", -1.0)
    count_pending(outdated)
    assert not counts.has_cached(1)


@pytest.mark.parametrize("others", [1, 2])
def test_sets_without_jobs_are_removed(migrated: Settings, clock: SetClock, others: int) -> None:
    settings = replace(migrated, jobs_keep_days=1)
    with running_master(Services(settings, clock, 3600), clock) as harness:
        harness.register("worker1")
        harness.upload()
        with harness.restarted() as other:
            other.claim("worker1")
            cancel_many(harness, 10)
            maintain(other)
            clock.advance(2 * 86_400)
            kept = [submit_with_own_set(harness, number) for number in range(others)]
            with harness.client.portal() as portal:
                assert portal.call(harness.services.retention.run_once).jobs == 10
            assert stored_sets(harness) == others
            assert kept[0]["state"] == "queued"
            # The other master still knows the removed sets.
            again = submit_with_own_set(other, 9)
            claimed = [harness.claim("worker1", slot)["job"]["id"] for slot in (1,)]
            assert claimed == [kept[0]["id"]]
            assert harness.job(again["id"])["requirements"]["memory_bytes_min"] == 10
