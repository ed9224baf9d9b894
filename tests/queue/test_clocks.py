"""Clocks that are wrong, or are set: a lease lasts as long as it lasts."""

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
from ffrtmp_shared.models import ClaimRequest, FailureReport, Heartbeat, ResultReport
from load import register_all
from serving import MasterProcess

pytestmark = pytest.mark.slow

LEASE_S = 3.0


def test_agents_tell_no_times() -> None:
    """What an agent says holds no moment, so that its clock can do no harm."""

    def names_a_moment(schema: Any) -> bool:
        if isinstance(schema, dict):
            return schema.get("format") == "date-time" or any(map(names_a_moment, schema.values()))
        return isinstance(schema, list) and any(map(names_a_moment, schema))

    for said in (ClaimRequest, Heartbeat, ResultReport, FailureReport):
        assert not names_a_moment(msgspec.json.schema(said)), said


@pytest.fixture
def masters(migrated: Settings, tmp_path: Path) -> Iterator[list[MasterProcess]]:
    """A master whose host has the right time, and one whose host is an hour ahead."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    ahead = {"LD_PRELOAD": str(library), "FAKETIME": "+1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    settings = msgspec.structs.replace(migrated, lease_s=LEASE_S, heartbeat_s=1.0)
    with ExitStack() as stack:
        made = []
        for name, environment in (("right", {}), ("ahead", ahead)):
            folder = tmp_path / name
            folder.mkdir()
            own = msgspec.structs.replace(settings, data_dir=folder)
            process = MasterProcess(folder, own, environment=environment)
            made.append(stack.enter_context(process.serving()))
        register_all(made[0])
        yield made


@only("postgresql")
def test_masters_whose_clocks_differ_agree_on_leases(masters: list[MasterProcess]) -> None:
    right, ahead = masters
    with (
        ahead.http("submitter") as submitter,
        ahead.http("worker1") as agent,
        right.http("worker1") as agent_elsewhere,
    ):
        job = post(submitter, "/v1/jobs", factories.job()).json()
        born = datetime.fromisoformat(job["created_at"])
        assert abs(datetime.now(UTC) - born) < timedelta(minutes=5), "the database's clock rules"
        claim = post(agent_elsewhere, "/v1/claims", {"node": "worker1", "slot": 1}).json()
        beat = {"attempt": claim["attempt"], "progress": {"stage": "encode"}}
        end = time.monotonic() + 2 * LEASE_S
        # Each master sweeps every second; by its host's clock one would end the lease at once.
        while time.monotonic() < end:
            for one in (agent, agent_elsewhere):
                answer = post(one, f"/v1/jobs/{job['id']}/heartbeat", beat)
                assert answer.status_code == 200, answer.text
            time.sleep(LEASE_S / 6)
        deadline = time.monotonic() + 5 * LEASE_S
        while submitter.get(f"/v1/jobs/{job['id']}").json()["state"] != "queued":
            assert time.monotonic() < deadline, "a silent agent keeps its lease for ever"
            time.sleep(0.1)


def post(client: httpx.Client, path: str, body: object) -> httpx.Response:
    content = msgspec.json.encode(body)
    return client.post(path, content=content, headers={"Content-Type": "application/json"})
