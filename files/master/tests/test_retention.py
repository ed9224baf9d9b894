"""Tests of retention, which removes old jobs and artifacts but keeps results and runs' states."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import factories
import in_process_master
import msgspec
import pytest
from ffrtmp_master.background.retention import AdaptiveBatchSize, Removed
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import retention
from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.retention import Batch, Place
from ffrtmp_master.store.schema import artifacts, job_logs, jobs, runs, transitions
from in_process_master import MasterHarness, SetClock
from msgspec.structs import replace
from sqlalchemy import Connection, Table, delete, func, select, update

DAY_S = 86_400
StartMaster = Callable[..., MasterHarness]


@pytest.fixture
def start_master(migrated: Settings, clock: SetClock) -> Iterator[StartMaster]:
    """A function that starts a master with the given retention settings."""
    serving = []

    def started(**retention_settings: Any) -> MasterHarness:
        services = Services(
            replace(migrated, **retention_settings), clock, maintenance_interval_s=3600
        )
        serving.append(in_process_master.running_master(services, clock))
        harness = serving[-1].__enter__()
        harness.register("worker1")
        harness.upload()
        return harness

    yield started
    for context in serving:
        context.__exit__(None, None, None)


def retain(harness: MasterHarness) -> Removed:
    with harness.client.portal() as portal:
        return portal.call(harness.services.retention.run_once)


def remove_unused(harness: MasterHarness) -> int:
    with harness.client.portal() as portal:
        return portal.call(harness.services.content_stores.remove_unused, -1)


def rows(harness: MasterHarness, table: Table) -> int:
    query = select(func.count()).select_from(table)
    with harness.client.portal() as portal:
        return portal.call(harness.services.reader.read, lambda c: c.execute(query).scalar_one())


def put_artifact(
    harness: MasterHarness, claim: Any, data: bytes, name: str = "a.log"
) -> dict[str, Any]:
    path = f"/v1/jobs/{claim['job']['id']}/artifacts/{name}"
    params = {"attempt": claim["attempt"]}
    listed: dict[str, Any] = harness.ok("worker1", "PUT", path, params=params, content=data)
    return listed


def put_log(harness: MasterHarness, claim: Any) -> None:
    path = f"/v1/jobs/{claim['job']['id']}/log"
    harness.ok("worker1", "POST", path, params={"attempt": claim["attempt"]}, content=b"line")


def has_artifact(harness: MasterHarness, claim: Any, name: str = "a.log") -> bool:
    path = f"/v1/jobs/{claim['job']['id']}/attempts/{claim['attempt']}/artifacts/{name}"
    status = harness.call("viewer", "GET", path).status_code
    assert status in (200, 404)
    return status == 200


def has_content(harness: MasterHarness, data: bytes) -> bool:
    digest = hashlib.sha256(data).hexdigest()
    with harness.client.portal() as portal:
        try:
            portal.call(harness.services.artifacts.size_bytes, digest)
        except NotFoundError:
            return False
    return True


def test_without_settings_nothing_is_removed(start_master: StartMaster, clock: SetClock) -> None:
    harness = start_master()
    harness.submit()
    assert harness.result(harness.claim("worker1")).is_success
    clock.advance(10_000 * DAY_S)
    assert retain(harness) == Removed()
    assert rows(harness, jobs) == 1


def test_a_finished_job_is_removed_and_its_result_remains(
    start_master: StartMaster, clock: SetClock
) -> None:
    harness = start_master(jobs_keep_days=2)
    run = harness.run()
    failing = harness.claim("worker1")
    put_log(harness, failing)
    put_artifact(harness, failing, b"of the attempt that failed")
    assert harness.fail(failing, "network").is_success
    clock.advance(3600)
    claim = harness.claim("worker1")
    put_log(harness, claim)
    listed = put_artifact(harness, claim, b"of the result")
    assert harness.result(claim, artifacts=[listed]).is_success
    before, results = harness.run_now(run["id"]), harness.every("/v1/results")
    clock.advance(2 * DAY_S)
    assert retain(harness).jobs == 0, "not older than two days"
    clock.advance(1)
    removed = retain(harness)
    assert (removed.jobs, removed.artifacts) == (1, 0)
    assert [rows(harness, table) for table in (jobs, transitions, job_logs, artifacts)] == [
        0,
        0,
        0,
        1,
    ]
    path = f"/v1/jobs/{claim['job']['id']}"
    for part in ("", "/transitions", "/log"):
        assert harness.call("viewer", "GET", path + part).status_code == 404
    assert harness.every("/v1/results") == results
    assert harness.run_now(run["id"]) == before
    assert before["state"] == "succeeded"
    assert has_artifact(harness, claim)
    assert not has_artifact(harness, failing)
    assert remove_unused(harness) == 1
    assert has_artifact(harness, claim)
    assert harness.call("viewer", "GET", f"/v1/sources/{harness.clip_sha256}").is_success
    assert harness.result(claim).status_code == 404, "a repeated report is refused"


def test_a_run_keeps_its_jobs_until_it_has_ended_and_its_counts_afterwards(
    start_master: StartMaster, clock: SetClock
) -> None:
    harness = start_master(jobs_keep_days=1, artifacts_keep_days=1, artifacts_max_bytes=1)
    run = harness.run(harness.suite(rates=4))
    claims = []
    for kind in ("", "invalid_settings", ""):
        claim = harness.claim("worker1")
        put_log(harness, claim)
        listed = put_artifact(harness, claim, b"of attempt %d" % len(claims))
        answer = harness.fail(claim, kind) if kind else harness.result(claim, artifacts=[listed])
        assert answer.is_success
        claims.append(claim)
        clock.advance(DAY_S / 2)
    # The failed job is retried and succeeds. The last job is not claimed.
    harness.ok("submitter", "POST", f"/v1/jobs/{claims[1]['job']['id']}/retry")
    again = harness.claim("worker1")
    assert again["job"]["id"] not in {claim["job"]["id"] for claim in claims}
    wanted = {"queued": 1, "leased": 0, "running": 1, "succeeded": 2, "failed": 0, "canceled": 0}
    for _ in range(6):
        clock.advance(DAY_S / 4)
        removed = retain(harness)
        assert (removed.jobs, removed.artifacts) == (0, 0), "the run is not finished"
        harness.heartbeat(again)
        assert harness.run_now(run["id"])["counts"] == wanted
    assert [rows(harness, table) for table in (jobs, job_logs, artifacts)] == [5, 3, 3]
    assert all(has_artifact(harness, claim) for claim in claims)
    assert harness.result(again).is_success
    harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    end = harness.run_now(run["id"])
    clock.advance(DAY_S / 2)
    assert retain(harness).jobs == 0, "the run ended less than a day ago"
    clock.advance(2 * DAY_S)
    assert retain(harness).jobs == 5
    assert rows(harness, jobs) == 0
    assert harness.run_now(run["id"]) == end
    assert (end["state"], end["counts"]["succeeded"], end["counts"]["canceled"]) == (
        "canceled",
        3,
        1,
    )
    (listed_run,) = harness.every("/v1/runs")
    assert listed_run == end


def measure_noisily(
    harness: MasterHarness, clock: SetClock, after_each: Callable[[int], None]
) -> int:
    """Complete all jobs of worker1 with noisy speeds; return the number of completed jobs."""
    done = 0
    while True:
        harness.register("worker1")
        claim = harness.claim("worker1")
        if claim is None:
            return done
        document = msgspec.to_builtins(factories.measurement())
        # The interval is wider than 0.1 %, but not out of reach.
        document["encode"]["speed"] = 1.0 + 0.003 * (done % 2)
        assert harness.result(claim, measurement=document).is_success
        done += 1
        assert done <= 60, "the job is measured without end"
        clock.advance(DAY_S / 2)
        after_each(done)
        harness.run_maintenance()


_REPEATED = "precision: {interval: 0.001, max_repeats: 12}\n"


def test_retention_does_not_add_repeats(start_master: StartMaster, clock: SetClock) -> None:
    harness = start_master(jobs_keep_days=1)
    run = harness.run(harness.suite(more=_REPEATED))
    assert measure_noisily(harness, clock, lambda _done: retain(harness) and None) == 12
    results = harness.every("/v1/results", run=run["id"])
    assert [result["repeat"] for result in results] == list(range(1, 13))
    assert harness.run_now(run["id"])["state"] == "succeeded"


def test_repeats_whose_jobs_an_earlier_release_removed_are_counted(
    start_master: StartMaster, clock: SetClock
) -> None:
    harness = start_master()
    run = harness.run(harness.suite(more=_REPEATED))

    def remove_first_jobs(done: int) -> None:
        if done != 5:
            return

        def remove(work: Any) -> None:
            repeated = jobs.c.repeat.in_([1, 2, 3])
            work.connection.execute(delete(jobs).where(repeated))
            counts = {"removed_counts": {"succeeded": 3}}
            work.connection.execute(update(runs).values(counts))

        with harness.client.portal() as portal:
            portal.call(harness.services.writer.write, remove)

    assert measure_noisily(harness, clock, remove_first_jobs) == 12
    results = harness.every("/v1/results", run=run["id"])
    assert [result["repeat"] for result in results] == list(range(1, 13))
    (median,) = harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["medians"]
    assert (median["n"], median["state"]) == (12, "unstable")


def test_jobs_that_must_be_kept_are_examined_once(
    start_master: StartMaster, clock: SetClock
) -> None:
    harness = start_master(jobs_keep_days=1)
    harness.run(harness.suite(rates=30))
    for _ in range(29):
        assert harness.result(harness.claim("worker1")).is_success
    harness.submit(priority="live")
    assert harness.result(harness.claim("worker1")).is_success
    clock.advance(2 * DAY_S)
    assert retain(harness).jobs == 1
    assert rows(harness, jobs) == 30


def test_unfinished_jobs_are_never_removed(start_master: StartMaster, clock: SetClock) -> None:
    harness = start_master(jobs_keep_days=1, artifacts_keep_days=1, artifacts_max_bytes=1)
    harness.submit()
    harness.submit()
    claim = harness.claim("worker1")
    listed = put_artifact(harness, claim, b"still wanted")
    clock.advance(30 * DAY_S)
    removed = retain(harness)
    assert (removed.jobs, removed.artifacts) == (0, 0)
    assert rows(harness, jobs) == 2
    assert harness.result(claim, artifacts=[listed]).is_success


def test_artifacts_are_removed_by_age(start_master: StartMaster, clock: SetClock) -> None:
    harness = start_master(artifacts_keep_days=1)
    claims = []
    for number in range(3):
        harness.submit()
        claim = harness.claim("worker1")
        listed = put_artifact(harness, claim, b"number %d" % number)
        assert harness.result(claim, artifacts=[listed]).is_success
        claims.append(claim)
        clock.advance(DAY_S * 0.4)
    removed = retain(harness)
    assert (removed.jobs, removed.artifacts) == (0, 1)
    assert [has_artifact(harness, claim) for claim in claims] == [False, True, True]
    assert has_content(harness, b"number 0"), "content remains until unused content is removed"
    assert remove_unused(harness) == 1
    contents = [b"number 0", b"number 1", b"number 2"]
    assert [has_content(harness, data) for data in contents] == [False, True, True]
    assert [result["artifacts"][0]["name"] for result in harness.every("/v1/results")] == [
        "a.log"
    ] * 3


@pytest.mark.parametrize(
    ("max_bytes", "left"), [(1000, 5), (400, 5), (399, 3), (300, 3), (299, 2), (1, 0)]
)
def test_the_oldest_artifacts_are_removed_above_the_size_limit(
    start_master: StartMaster, clock: SetClock, max_bytes: int, left: int
) -> None:
    """Remove some of five artifacts of 100 bytes; the first and the last have the same content."""
    harness = start_master(artifacts_max_bytes=max_bytes)
    claims = []
    for letter in (b"a", b"b", b"c", b"d", b"a"):
        harness.submit()
        claim = harness.claim("worker1")
        listed = put_artifact(harness, claim, letter * 100)
        assert harness.result(claim, artifacts=[listed]).is_success
        claims.append(claim)
        clock.advance(60)
    removed = retain(harness)
    assert removed.artifacts == 5 - left
    assert [has_artifact(harness, claim) for claim in claims] == [False] * (5 - left) + [
        True
    ] * left
    remove_unused(harness)
    assert has_content(harness, b"a" * 100) == (left > 0)
    assert retain(harness).artifacts == 0


def test_many_jobs_are_removed_in_several_steps(
    start_master: StartMaster, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = start_master(jobs_keep_days=1)
    run = harness.run(harness.suite(rates=40, repeats=30))
    harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    clock.advance(2 * DAY_S)
    steps: list[int] = []
    remove = retention.remove_jobs

    def counted(
        connection: Connection, before: datetime, at_most: int, after: Place | None
    ) -> Batch:
        batch = remove(connection, before, at_most, after)
        steps.append(batch.removed)
        return batch

    monkeypatch.setattr(retention, "remove_jobs", counted)
    removed = retain(harness)
    assert removed.jobs == sum(steps) == 1200
    assert steps[0] == 8
    assert len(steps) > 3
    assert harness.run_now(run["id"])["counts"]["canceled"] == 1200


def test_the_batch_size_follows_the_duration_of_steps() -> None:
    batch_size = AdaptiveBatchSize()
    for _ in range(30):
        batch_size.adjust(batch_size.size * 0.0001)
    assert batch_size.size == 200, "20 ms at 0.1 ms each"
    batch_size.adjust(0.2)
    assert batch_size.size == 20
    for _ in range(30):
        batch_size.adjust(batch_size.size * 0.05)
    assert batch_size.size == 1
    for _ in range(30):
        batch_size.adjust(0.0)
    assert batch_size.size == AdaptiveBatchSize.MOST
