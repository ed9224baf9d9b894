"""What was kept long enough goes, results stay, and a run still says how it ended."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import house as house_module
import pytest
from ffrtmp_master.background.retention import Pace, Removed
from ffrtmp_master.services import Farm
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import retention
from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.retention import Batch
from ffrtmp_master.store.schema import artifacts, job_logs, jobs, transitions
from house import House, SetClock
from msgspec.structs import replace
from sqlalchemy import Connection, Table, func, select

DAY_S = 86_400
Keep = Callable[..., House]


@pytest.fixture
def keep(migrated: Settings, clock: SetClock) -> Iterator[Keep]:
    """Start a master with settings of what is kept."""
    serving = []

    def started(**kept: Any) -> House:
        farm = Farm(replace(migrated, **kept), clock, sweep_s=3600)
        serving.append(house_module.serving(farm, clock))
        house = serving[-1].__enter__()
        house.register("worker1")
        house.upload()
        return house

    yield started
    for one in serving:
        one.__exit__(None, None, None)


def retain(house: House) -> Removed:
    with house.client.portal() as portal:
        return portal.call(house.farm.retention.once)


def remove_waste(house: House) -> int:
    with house.client.portal() as portal:
        return portal.call(house.farm.contents.remove_unused, -1)


def rows(house: House, table: Table) -> int:
    query = select(func.count()).select_from(table)
    with house.client.portal() as portal:
        return portal.call(house.farm.reader.read, lambda c: c.execute(query).scalar_one())


def put_artifact(house: House, claim: Any, data: bytes, name: str = "a.log") -> dict[str, Any]:
    path = f"/v1/jobs/{claim['job']['id']}/artifacts/{name}"
    params = {"attempt": claim["attempt"]}
    listed: dict[str, Any] = house.ok("worker1", "PUT", path, params=params, content=data)
    return listed


def put_log(house: House, claim: Any) -> None:
    path = f"/v1/jobs/{claim['job']['id']}/log"
    house.ok("worker1", "POST", path, params={"attempt": claim["attempt"]}, content=b"said")


def has_artifact(house: House, claim: Any, name: str = "a.log") -> bool:
    path = f"/v1/jobs/{claim['job']['id']}/attempts/{claim['attempt']}/artifacts/{name}"
    status = house.call("viewer", "GET", path).status_code
    assert status in (200, 404)
    return status == 200


def has_content(house: House, data: bytes) -> bool:
    digest = hashlib.sha256(data).hexdigest()
    with house.client.portal() as portal:
        try:
            portal.call(house.farm.artifacts.size_bytes, digest)
        except NotFoundError:
            return False
    return True


def test_without_settings_everything_stays(keep: Keep, clock: SetClock) -> None:
    house = keep()
    house.submit()
    assert house.result(house.claim("worker1")).is_success
    clock.advance(10_000 * DAY_S)
    assert retain(house) == Removed()
    assert rows(house, jobs) == 1


def test_a_finished_job_goes_and_its_result_stays(keep: Keep, clock: SetClock) -> None:
    house = keep(jobs_keep_days=2)
    run = house.run()
    failing = house.claim("worker1")
    put_log(house, failing)
    put_artifact(house, failing, b"of the attempt that failed")
    assert house.fail(failing, "network").is_success
    clock.advance(3600)
    claim = house.claim("worker1")
    put_log(house, claim)
    listed = put_artifact(house, claim, b"of the result")
    assert house.result(claim, artifacts=[listed]).is_success
    before, results = house.run_now(run["id"]), house.every("/v1/results")
    clock.advance(2 * DAY_S)
    assert retain(house).jobs == 0, "not older than two days"
    clock.advance(1)
    removed = retain(house)
    assert (removed.jobs, removed.artifacts) == (1, 0)
    assert [rows(house, table) for table in (jobs, transitions, job_logs, artifacts)] == [
        0,
        0,
        0,
        1,
    ]
    path = f"/v1/jobs/{claim['job']['id']}"
    for part in ("", "/transitions", "/log"):
        assert house.call("viewer", "GET", path + part).status_code == 404
    assert house.every("/v1/results") == results
    assert house.run_now(run["id"]) == before
    assert before["state"] == "succeeded"
    assert has_artifact(house, claim)
    assert not has_artifact(house, failing)
    assert remove_waste(house) == 1
    assert has_artifact(house, claim)
    assert house.call("viewer", "GET", f"/v1/sources/{house.clip_sha256}").is_success
    assert house.result(claim).status_code == 404, "an agent that reports again is told"


def test_a_run_whose_jobs_go_one_after_the_other_keeps_its_counts(
    keep: Keep, clock: SetClock
) -> None:
    house = keep(jobs_keep_days=1)
    run = house.run(house.suite(rates=4))
    claims = []
    for kind in ("", "invalid_settings", ""):
        claim = house.claim("worker1")
        answer = house.fail(claim, kind) if kind else house.result(claim)
        assert answer.is_success
        claims.append(claim)
        clock.advance(DAY_S / 2)
    # The one that failed is done over, and succeeds; the last is never claimed.
    house.ok("submitter", "POST", f"/v1/jobs/{claims[1]['job']['id']}/retry")
    again = house.claim("worker1")
    assert again["job"]["id"] not in {claim["job"]["id"] for claim in claims}
    seen = []
    for _ in range(6):
        clock.advance(DAY_S / 4)
        retain(house)
        house.heartbeat(again)
        seen.append((rows(house, jobs), house.run_now(run["id"])))
    assert [left for left, _ in seen] == sorted((left for left, _ in seen), reverse=True)
    assert seen[0][0] > seen[-1][0] == 2
    wanted = {"queued": 1, "leased": 0, "running": 1, "succeeded": 2, "failed": 0, "canceled": 0}
    assert [one["counts"] for _, one in seen] == [wanted] * 6
    assert {one["state"] for _, one in seen} == {"running"}
    assert house.result(again).is_success
    house.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    clock.advance(2 * DAY_S)
    retain(house)
    end = house.run_now(run["id"])
    assert rows(house, jobs) == 0
    assert (end["state"], end["counts"]["succeeded"], end["counts"]["canceled"]) == (
        "canceled",
        3,
        1,
    )
    (listed,) = house.every("/v1/runs")
    assert listed == end


def test_what_is_not_final_stays_however_old(keep: Keep, clock: SetClock) -> None:
    house = keep(jobs_keep_days=1, artifacts_keep_days=1, artifacts_max_bytes=1)
    house.submit()
    house.submit()
    claim = house.claim("worker1")
    listed = put_artifact(house, claim, b"still wanted")
    clock.advance(30 * DAY_S)
    removed = retain(house)
    assert (removed.jobs, removed.artifacts) == (0, 0)
    assert rows(house, jobs) == 2
    assert house.result(claim, artifacts=[listed]).is_success


def test_artifacts_go_by_age(keep: Keep, clock: SetClock) -> None:
    house = keep(artifacts_keep_days=1)
    claims = []
    for number in range(3):
        house.submit()
        claim = house.claim("worker1")
        listed = put_artifact(house, claim, b"number %d" % number)
        assert house.result(claim, artifacts=[listed]).is_success
        claims.append(claim)
        clock.advance(DAY_S * 0.4)
    removed = retain(house)
    assert (removed.jobs, removed.artifacts) == (0, 1)
    assert [has_artifact(house, claim) for claim in claims] == [False, True, True]
    assert has_content(house, b"number 0"), "until it is looked for what nothing refers to"
    assert remove_waste(house) == 1
    contents = [b"number 0", b"number 1", b"number 2"]
    assert [has_content(house, data) for data in contents] == [False, True, True]
    assert [result["artifacts"][0]["name"] for result in house.every("/v1/results")] == [
        "a.log"
    ] * 3


@pytest.mark.parametrize(
    ("max_bytes", "left"), [(1000, 5), (400, 5), (399, 3), (300, 3), (299, 2), (1, 0)]
)
def test_the_oldest_artifacts_go_when_there_are_too_many(
    keep: Keep, clock: SetClock, max_bytes: int, left: int
) -> None:
    """Of five artifacts of 100 bytes the first and the last are the same content."""
    house = keep(artifacts_max_bytes=max_bytes)
    claims = []
    for letter in (b"a", b"b", b"c", b"d", b"a"):
        house.submit()
        claim = house.claim("worker1")
        listed = put_artifact(house, claim, letter * 100)
        assert house.result(claim, artifacts=[listed]).is_success
        claims.append(claim)
        clock.advance(60)
    removed = retain(house)
    assert removed.artifacts == 5 - left
    assert [has_artifact(house, claim) for claim in claims] == [False] * (5 - left) + [True] * left
    remove_waste(house)
    assert has_content(house, b"a" * 100) == (left > 0)
    assert retain(house).artifacts == 0


def test_many_go_in_several_steps(
    keep: Keep, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = keep(jobs_keep_days=1)
    run = house.run(house.suite(rates=40, repeats=30))
    house.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    clock.advance(2 * DAY_S)
    steps: list[int] = []
    remove = retention.remove_jobs

    def counted(connection: Connection, before: datetime, at_most: int) -> Batch:
        batch = remove(connection, before, at_most)
        steps.append(batch.removed)
        return batch

    monkeypatch.setattr(retention, "remove_jobs", counted)
    removed = retain(house)
    assert removed.jobs == sum(steps) == 1200
    assert steps[0] == 8
    assert len(steps) > 3
    assert house.run_now(run["id"])["counts"]["canceled"] == 1200


def test_the_pace_follows_the_time_that_steps_take() -> None:
    pace = Pace()
    for _ in range(30):
        pace.took(pace.size * 0.0001)
    assert pace.size == 200, "20 ms of what takes 0.1 ms each"
    pace.took(0.2)
    assert pace.size == 20
    for _ in range(30):
        pace.took(pace.size * 0.05)
    assert pace.size == 1
    for _ in range(30):
        pace.took(0.0)
    assert pace.size == Pace.MOST
