"""A full disk: writes are refused, reads go on, nothing is lost, and it passes by itself."""

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import pytest
from databases import settings_for
from load import every, register_all
from postgresql import Database
from serving import MasterProcess

from .test_crash import check_integrity

# On SQLite; PostgreSQL's disk is PostgreSQL's own matter.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small filesystem")

_SIZE = "4m"
_NO_ROOM = 507


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of a few MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["/usr/bin/mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", folder]
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["/usr/bin/umount", "--lazy", folder], check=True)


@pytest.fixture
def master(small_disk: Path, template_file: Path, tmp_path: Path) -> Iterator[MasterProcess]:
    """A master that keeps everything on the small disk; its log goes elsewhere."""
    shutil.copy(template_file, small_disk / "farm.db")
    settings = settings_for(Database(f"sqlite:///{small_disk / 'farm.db'}"), small_disk)
    settings = msgspec.structs.replace(settings, lease_s=600.0)
    with MasterProcess(tmp_path, settings).serving() as serving:
        register_all(serving)
        yield serving


def test_a_full_disk_loses_nothing_and_passes(master: MasterProcess, small_disk: Path) -> None:
    with master.http("submitter") as submitter, master.http("worker1") as agent:
        acknowledged = [submit(submitter).json()["id"] for _ in range(20)]
        claim = agent.post("/v1/claims", json={"node": "worker1", "slot": 1}).json()
        ballast = small_disk / "ballast"
        acknowledged += fill_until_refused(ballast, submitter)

        refusals = [
            submit(submitter),
            hand_in(agent, claim),
            agent.post(
                f"/v1/jobs/{claim['job']['id']}/heartbeat",
                json={"attempt": claim["attempt"], "progress": {"stage": "encode"}},
            ),
            submitter.put(f"/v1/sources/{factories.CLIP_SHA256}", content=factories.CLIP),
        ]
        for refused in refusals:
            assert refused.status_code == _NO_ROOM, (refused.request.url, refused.text)
            assert refused.headers["content-type"] == "application/problem+json"
            assert "full" in refused.json()["detail"]

        assert submitter.get("/healthz").status_code == 200
        present = {job["id"] for job in every(submitter, "/v1/jobs")}
        assert present == set(acknowledged), "what was acknowledged, and what was refused"

        ballast.unlink()
        wait_until_taken(submitter, acknowledged)
        stored = hand_in(agent, claim)
        assert (stored.status_code, stored.json()["repeated"]) == (200, False)
        put = submitter.put(f"/v1/sources/{factories.CLIP_SHA256}", content=factories.CLIP)
        assert put.status_code == 204
        assert {job["id"] for job in every(submitter, "/v1/jobs")} == set(acknowledged)
        assert [one["job_id"] for one in every(submitter, "/v1/results")] == [claim["job"]["id"]]
    assert master.is_running, "it was the same process all along"
    check_integrity(str(small_disk / "farm.db"))


def submit(submitter: httpx.Client) -> httpx.Response:
    body = msgspec.json.encode(factories.job())
    return submitter.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})


def hand_in(agent: httpx.Client, claim: Any) -> httpx.Response:
    report = {"attempt": claim["attempt"], "measurement": factories.measurement()}
    return agent.post(
        f"/v1/jobs/{claim['job']['id']}/result",
        content=msgspec.json.encode(report),
        headers={"Content-Type": "application/json"},
    )


def fill_until_refused(ballast: Path, submitter: httpx.Client) -> list[str]:
    """Take all room that is left, again and again, until a job is refused; return those taken."""
    taken = []
    for _ in range(500):
        fill(ballast)
        answer = submit(submitter)
        if answer.status_code == _NO_ROOM:
            fill(ballast)
            return taken
        assert answer.status_code == 201, answer.text
        taken.append(answer.json()["id"])
    raise AssertionError("the disk never became full")


def fill(ballast: Path) -> None:
    """Write until there is no room."""
    with ballast.open("ab", buffering=0) as file:
        for piece in (65536, 4096, 1):
            try:
                while file.write(b"x" * piece):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC


def wait_until_taken(submitter: httpx.Client, acknowledged: list[str]) -> None:
    """Wait until a job is taken again."""
    deadline = time.monotonic() + 10
    while (answer := submit(submitter)).status_code != 201:
        assert answer.status_code == _NO_ROOM, answer.text
        assert time.monotonic() < deadline, "there is room, and it is still refused"
        time.sleep(0.05)
    acknowledged.append(answer.json()["id"])
