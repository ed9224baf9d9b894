"""Tests that the master reports outages of its database and continues after them."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import postgresql
import pytest
from databases import fill, settings_for
from load_generator import every, register_all, wait_until_parked
from master_process import MasterProcess
from polling import TIMEOUT_S, wait_until
from postgresql import Cluster

pytestmark = pytest.mark.slow

LEASE_S = 3.0


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that the test may stop."""
    with postgresql.running(durable=True) as cluster:
        yield cluster


@pytest.fixture
def master(own_cluster: Cluster, tmp_path: Path) -> Iterator[MasterProcess]:
    database = own_cluster.create("farm")
    fill(database)
    settings = msgspec.structs.replace(
        settings_for(database, tmp_path), lease_s=LEASE_S, heartbeat_s=1.0
    )
    with MasterProcess(tmp_path, settings).serving() as serving:
        register_all(serving)
        yield serving


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_an_outage_loses_no_jobs_or_leases(
    master: MasterProcess, own_cluster: Cluster, stop_signal: signal.Signals
) -> None:
    with (
        master.http("submitter") as submitter,
        master.http("worker1") as agent,
        master.http("viewer") as viewer,
    ):
        acknowledged = [post(submitter, "/v1/jobs", factories.job()).json()["id"] for _ in range(5)]
        claim = post(agent, "/v1/claims", {"node": "worker1", "slot": 1}).json()

        own_cluster.stop(stop_signal)
        down = time.monotonic()
        wait_for_status(viewer, "/readyz", 503)
        # The outage is longer than a lease. If the master only compared times, it would end the
        # attempt.
        while time.monotonic() < down + LEASE_S + 1.5:
            refused = [
                viewer.get("/readyz"),
                viewer.get("/v1/jobs"),
                post(submitter, "/v1/jobs", factories.job()),
                beat(agent, claim),
                report_result(agent, claim),
            ]
            for answer in refused:
                assert answer.status_code == 503, (answer.request.url, answer.text)
                assert answer.headers["content-type"] == "application/problem+json"
            assert "database" in refused[0].json()["detail"]
            assert all(int(answer.headers["retry-after"]) > 0 for answer in refused[1:])
            assert viewer.get("/healthz").status_code == 200

        own_cluster.start()
        wait_for_status(viewer, "/readyz", 200)
        # The master expires leases every second, but must not expire this one.
        back = time.monotonic()
        while time.monotonic() < back + LEASE_S * 0.6:
            state = viewer.get(f"/v1/jobs/{claim['job']['id']}").json()["state"]
            assert state == "leased", "the outage ended a lease"
            time.sleep(0.1)
        assert beat(agent, claim).status_code == 200
        stored = report_result(agent, claim)
        assert (stored.status_code, stored.json()["repeated"]) == (200, False)
        after = post(submitter, "/v1/jobs", factories.job())
        assert after.status_code == 201
        jobs = {job["id"]: job for job in every(viewer, "/v1/jobs")}
        assert jobs.keys() == {*acknowledged, after.json()["id"]}
        assert jobs[claim["job"]["id"]]["attempt"] == 1
        assert jobs[claim["job"]["id"]]["state"] == "succeeded"
    assert master.is_running


def test_leases_expire_after_an_outage(master: MasterProcess, own_cluster: Cluster) -> None:
    with master.http("submitter") as submitter, master.http("worker1") as agent:
        job = post(submitter, "/v1/jobs", factories.job()).json()
        post(agent, "/v1/claims", {"node": "worker1", "slot": 1})
        own_cluster.stop(signal.SIGQUIT)
        wait_for_status(submitter, "/readyz", 503)
        own_cluster.start()
        wait_for_status(submitter, "/readyz", 200)
        wait_until(
            lambda: submitter.get(f"/v1/jobs/{job['id']}").json()["state"] == "queued",
            "the lease of an agent without heartbeats expires",
            interval_s=0.1,
        )


def test_a_parked_claim_gets_a_job_after_an_outage(
    master: MasterProcess, own_cluster: Cluster
) -> None:
    claimed: list[Any] = []

    def park() -> None:
        with master.http("worker1") as agent:

            def claim() -> Any:
                answer = post(agent, "/v1/claims", {"node": "worker1", "slot": 1, "wait_s": 20})
                return answer.json() if answer.status_code == 200 else None

            claimed.append(wait_until(claim, "a job is claimed", interval_s=0))

    agent = threading.Thread(target=park)
    agent.start()
    with master.http("submitter") as submitter:
        wait_until_parked(submitter)
        own_cluster.stop(signal.SIGQUIT)
        wait_for_status(submitter, "/readyz", 503)
        own_cluster.start()
        wait_for_status(submitter, "/readyz", 200)
        job = post(submitter, "/v1/jobs", factories.job()).json()
        agent.join(TIMEOUT_S)
    assert [claim["job"]["id"] for claim in claimed] == [job["id"]]


def test_a_failover_makes_the_master_unready_and_loses_nothing(
    master: MasterProcess, own_cluster: Cluster
) -> None:
    """The server of the master becomes a replica, which refuses writes, and is promoted later."""
    with master.http("submitter") as submitter:
        before = post(submitter, "/v1/jobs", factories.job()).json()["id"]
        own_cluster.stop()
        own_cluster.start_as_replica()
        wait_for_status(submitter, "/readyz", 503)
        wait_until(
            lambda: "read-only" in submitter.get("/readyz").text,
            lambda: submitter.get("/readyz").text,
            interval_s=0.1,
        )
        refused = post(submitter, "/v1/jobs", factories.job())
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["retry-after"]) > 0
        assert [job["id"] for job in every(submitter, "/v1/jobs")] == [before]
        own_cluster.promote()
        wait_for_status(submitter, "/readyz", 200)
        after = post(submitter, "/v1/jobs", factories.job()).json()["id"]
        assert [job["id"] for job in every(submitter, "/v1/jobs")] == [before, after]


def post(client: httpx.Client, path: str, body: object) -> httpx.Response:
    content = msgspec.json.encode(body)
    return client.post(path, content=content, headers={"Content-Type": "application/json"})


def beat(agent: httpx.Client, claim: Any) -> httpx.Response:
    body = {"attempt": claim["attempt"], "progress": {"stage": "encode"}}
    return post(agent, f"/v1/jobs/{claim['job']['id']}/heartbeat", body)


def report_result(agent: httpx.Client, claim: Any) -> httpx.Response:
    body = {"attempt": claim["attempt"], "measurement": factories.measurement()}
    return post(agent, f"/v1/jobs/{claim['job']['id']}/result", body)


def wait_for_status(client: httpx.Client, path: str, status: int) -> None:
    wait_until(lambda: client.get(path).status_code == status, f"{path} answers {status}")
