"""Tests with wrong clocks of hosts, which must not affect the duration of leases."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import pytest
from databases import only
from ffrtmp_master.settings import Settings
from ffrtmp_shared.agent_models import ClaimRequest, FailureReport, Heartbeat, ResultReport
from load_generator import register_all
from master_process import MasterProcess
from polling import wait_until

pytestmark = pytest.mark.slow

LEASE_S = 3.0


def test_requests_of_agents_contain_no_timestamps() -> None:
    """Check that the clocks of agents cannot have an effect on the queue.

    The time of a measurement is stored like the other facts about its host. The queue never reads
    it.
    """

    def timestamps(schema: Any, name: str) -> Iterator[str]:
        if isinstance(schema, list):
            for item in schema:
                yield from timestamps(item, name)
        elif isinstance(schema, dict):
            if schema.get("format") == "date-time":
                yield name
            for key, item in schema.items():
                yield from timestamps(item, key if key not in ("anyOf", "items") else name)

    for body in (ClaimRequest, Heartbeat, FailureReport):
        assert not set(timestamps(msgspec.json.schema(body), "")), body
    assert set(timestamps(msgspec.json.schema(ResultReport), "")) == {"measured_at"}


@pytest.fixture
def masters(migrated: Settings, tmp_path: Path) -> Iterator[list[MasterProcess]]:
    """A master whose clock is correct, and one whose clock is an hour ahead."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    ahead = {"LD_PRELOAD": str(library), "FAKETIME": "+1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    settings = msgspec.structs.replace(migrated, lease_s=LEASE_S, heartbeat_s=1.0)
    with ExitStack() as stack:
        started = []
        for name, environment in (("right", {}), ("ahead", ahead)):
            folder = tmp_path / name
            folder.mkdir()
            own = msgspec.structs.replace(settings, data_dir=folder)
            process = MasterProcess(folder, own, environment=environment)
            started.append(stack.enter_context(process.serving()))
        register_all(started[0])
        yield started


@only("postgresql")
def test_masters_whose_clocks_differ_agree_on_leases(masters: list[MasterProcess]) -> None:
    right, ahead = masters
    with (
        ahead.http("submitter") as submitter,
        ahead.http("worker1") as agent,
        right.http("worker1") as agent_elsewhere,
    ):
        job = post(submitter, "/v1/jobs", factories.job()).json()
        created_at = datetime.fromisoformat(job["created_at"])
        assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=5), (
            "the clock of the database is used"
        )
        claim = post(agent_elsewhere, "/v1/claims", {"node": "worker1", "slot": 1}).json()
        beat = {"attempt": claim["attempt"], "progress": {"stage": "encode"}}
        end = time.monotonic() + 2 * LEASE_S
        # Each master expires leases every second. If it used its own clock instead of that of the
        # database, one of the masters would end this lease.
        while time.monotonic() < end:
            for client in (agent, agent_elsewhere):
                answer = post(client, f"/v1/jobs/{job['id']}/heartbeat", beat)
                assert answer.status_code == 200, answer.text
            time.sleep(LEASE_S / 6)
        wait_until(
            lambda: submitter.get(f"/v1/jobs/{job['id']}").json()["state"] == "queued",
            "the lease of an agent without heartbeats expires",
            interval_s=0.1,
        )


def post(client: httpx.Client, path: str, body: object) -> httpx.Response:
    content = msgspec.json.encode(body)
    return client.post(path, content=content, headers={"Content-Type": "application/json"})
