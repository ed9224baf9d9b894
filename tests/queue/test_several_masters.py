"""Several masters on one PostgreSQL: nobody has to ask the same one twice, and one may die."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import factories
import msgspec
import pytest
from databases import only
from ffrtmp_master.settings import Settings
from ffrtmp_shared.models import ClaimRequest
from load import Load, check, every, register_all, wait_until_parked
from serving import MasterProcess

pytestmark = [only("postgresql"), pytest.mark.slow]


@pytest.fixture
def masters(migrated: Settings, tmp_path: Path) -> Iterator[list[MasterProcess]]:
    """Two masters that share nothing but the database."""
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            settings = msgspec.structs.replace(
                migrated, data_dir=folder, requests_per_s_max=1e6, lease_s=6.0, heartbeat_s=1.0
            )
            made.append(stack.enter_context(MasterProcess(folder, settings).serving()))
        register_all(made[0])
        yield made


def test_one_of_two_masters_is_killed_and_nothing_is_lost(masters: list[MasterProcess]) -> None:
    one, two = masters
    load = Load(masters, seed=7)
    with load.running(submitters=2, slots=2) as ledger:
        _wait_for(ledger.stored, 40)
        one.end(signal.SIGKILL)
        _wait_for(ledger.stored, len(ledger.stored) + 40)
    check(ledger, two)
    assert ledger.unknown, "the kill hit no submission"
    # What is left is done by whoever is there, also what the dead one had handed out.
    finish = Load([two])
    with finish.running(submitters=0, slots=2), two.http("viewer") as viewer:
        deadline = time.monotonic() + 60
        while any(job["state"] != "succeeded" for job in every(viewer, "/v1/jobs")):
            assert time.monotonic() < deadline, "some jobs were never done"
            time.sleep(0.1)
        results = every(viewer, "/v1/results")
        jobs = every(viewer, "/v1/jobs")
    assert len(results) == len({one["job_id"] for one in results}) == len(jobs)


def _wait_for(stored: set[Any], count: int) -> None:
    deadline = time.monotonic() + 60
    while len(stored) < count:
        assert time.monotonic() < deadline, f"only {len(stored)} of {count} results"
        time.sleep(0.02)


def test_a_parked_agent_hears_of_a_job_from_the_other_master(masters: list[MasterProcess]) -> None:
    one, two = masters
    delays_s = []
    for node in factories.NODES:
        woken: list[tuple[str, float]] = []

        def park(name: str, into: list[tuple[str, float]]) -> None:
            with one.client(name) as agent:
                claim = agent.claim(ClaimRequest(node=name, slot=1, wait_s=20))
                assert claim is not None
                into.append((str(claim.job.id), time.monotonic()))

        agent = threading.Thread(target=park, args=(node, woken))
        agent.start()
        with two.http("submitter") as submitter, one.http("viewer") as viewer:
            wait_until_parked(viewer)
            start = time.monotonic()
            body = msgspec.json.encode(factories.job())
            headers = {"Content-Type": "application/json"}
            job = submitter.post("/v1/jobs", content=body, headers=headers).json()
        agent.join(30)
        ((job_id, at),) = woken
        assert job_id == job["id"]
        delays_s.append(at - start)
    # Without the notification it would be the next look, up to 5 s later.
    assert max(delays_s) < 1, delays_s


def test_content_is_served_by_any_master(masters: list[MasterProcess]) -> None:
    one, two = masters
    path = f"/v1/sources/{factories.CLIP_SHA256}"
    with one.http("submitter") as here, two.http("viewer") as there:
        assert here.put(path, content=factories.CLIP).status_code == 204
        assert there.get(path).content == factories.CLIP
