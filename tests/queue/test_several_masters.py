"""Tests of several masters that share a PostgreSQL database.

Clients may use any of the masters, and a master may be killed.
"""

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
from ffrtmp_shared.agent_models import ClaimRequest
from load_generator import Load, check, every, register_all, wait_until_parked
from master_process import MasterProcess
from polling import TIMEOUT_S, wait_until

pytestmark = [only("postgresql"), pytest.mark.slow]


@pytest.fixture
def masters(migrated: Settings, tmp_path: Path) -> Iterator[list[MasterProcess]]:
    """Two running masters that share nothing but the database."""
    with ExitStack() as stack:
        started = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            settings = msgspec.structs.replace(
                migrated, data_dir=folder, requests_per_s_max=1e6, lease_s=6.0, heartbeat_s=1.0
            )
            started.append(stack.enter_context(MasterProcess(folder, settings).serving()))
        register_all(started[0])
        yield started


def test_one_of_two_masters_is_killed_and_nothing_is_lost(masters: list[MasterProcess]) -> None:
    first, second = masters
    load = Load(masters, seed=7)
    with load.running(submitters=2, slots=2) as ledger:
        _wait_for(ledger.stored, 40)
        first.end(signal.SIGKILL)
        _wait_for(ledger.stored, len(ledger.stored) + 40)
    check(ledger, second)
    assert ledger.unknown, "the kill hit no submission"
    # At the second master, agents finish all jobs, including those that the first had leased.
    finish = Load([second])
    with finish.running(submitters=0, slots=2), second.http("viewer") as viewer:
        wait_until(
            lambda: all(job["state"] == "succeeded" for job in every(viewer, "/v1/jobs")),
            "all jobs have succeeded",
            interval_s=0.1,
        )
        results = every(viewer, "/v1/results")
        jobs = every(viewer, "/v1/jobs")
    assert len(results) == len({result["job_id"] for result in results}) == len(jobs)


def _wait_for(stored: set[Any], count: int) -> None:
    wait_until(
        lambda: len(stored) >= count,
        lambda: f"{len(stored)} of {count} results are stored",
        interval_s=0.02,
    )


def test_a_parked_claim_is_woken_by_a_job_of_the_other_master(masters: list[MasterProcess]) -> None:
    first, second = masters
    delays_s = []
    for node in factories.NODES:
        woken: list[tuple[str, float]] = []

        def park(name: str, into: list[tuple[str, float]]) -> None:
            with first.client(name) as agent:
                claim = agent.claim(ClaimRequest(node=name, slot=1, wait_s=20))
                assert claim is not None
                into.append((str(claim.job.id), time.monotonic()))

        agent = threading.Thread(target=park, args=(node, woken))
        agent.start()
        with second.http("submitter") as submitter, first.http("viewer") as viewer:
            wait_until_parked(viewer)
            start = time.monotonic()
            body = msgspec.json.encode(factories.job())
            headers = {"Content-Type": "application/json"}
            job = submitter.post("/v1/jobs", content=body, headers=headers).json()
        agent.join(TIMEOUT_S)
        ((job_id, at),) = woken
        assert job_id == job["id"]
        delays_s.append(at - start)
    # Without the notification by the other master, the claim would only poll after up to 5 s.
    assert max(delays_s) < 1, delays_s


def test_content_is_served_by_both_masters(masters: list[MasterProcess]) -> None:
    first, second = masters
    path = f"/v1/sources/{factories.CLIP_SHA256}"
    with first.http("submitter") as writer, second.http("viewer") as reader:
        assert writer.put(path, content=factories.CLIP).status_code == 204
        assert reader.get(path).content == factories.CLIP
