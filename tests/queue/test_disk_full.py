"""Tests of a master whose disk is full.

It refuses writes and continues to answer reads. When there is space again, it accepts writes
without a restart.
"""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import pytest
from databases import settings_for
from load_generator import every, register_all
from master_process import MasterProcess
from polling import wait_until
from postgresql import Database

from .test_crash import check_integrity

# The tests run on SQLite only, because PostgreSQL is responsible for its own disk.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small filesystem")

_SIZE = "4m"
_INSUFFICIENT_STORAGE = 507


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of a few MiB."""
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
    """A master whose data is on the small disk, but whose log is elsewhere."""
    shutil.copy(template_file, small_disk / "farm.db")
    settings = settings_for(Database(f"sqlite:///{small_disk / 'farm.db'}"), small_disk)
    # Without reserved space, the disk becomes full.
    settings = msgspec.structs.replace(settings, lease_s=600.0, reserved_bytes=0)
    with MasterProcess(tmp_path, settings).serving() as serving:
        register_all(serving)
        yield serving


def test_a_full_disk_loses_no_data_until_there_is_space(
    master: MasterProcess, small_disk: Path
) -> None:
    with master.http("submitter") as submitter, master.http("worker1") as agent:
        acknowledged = [submit(submitter).json()["id"] for _ in range(20)]
        claim = agent.post("/v1/claims", json={"node": "worker1", "slot": 1}).json()
        filler = small_disk / "filler"
        acknowledged += fill_until_refused(filler, submitter)

        refusals = [
            submit(submitter),
            report_result(agent, claim),
            agent.post(
                f"/v1/jobs/{claim['job']['id']}/heartbeat",
                json={"attempt": claim["attempt"], "progress": {"stage": "encode"}},
            ),
            submitter.put(f"/v1/sources/{factories.CLIP_SHA256}", content=factories.CLIP),
        ]
        for refused in refusals:
            assert refused.status_code == _INSUFFICIENT_STORAGE, (refused.request.url, refused.text)
            assert refused.headers["content-type"] == "application/problem+json"
            assert "full" in refused.json()["detail"]

        assert submitter.get("/healthz").status_code == 200
        present = {job["id"] for job in every(submitter, "/v1/jobs")}
        assert present == set(acknowledged), (
            "refused jobs are stored, or acknowledged ones are lost"
        )

        filler.unlink()
        wait_until_accepted(submitter, acknowledged)
        stored = report_result(agent, claim)
        assert (stored.status_code, stored.json()["repeated"]) == (200, False)
        put = submitter.put(f"/v1/sources/{factories.CLIP_SHA256}", content=factories.CLIP)
        assert put.status_code == 204
        assert {job["id"] for job in every(submitter, "/v1/jobs")} == set(acknowledged)
        assert [result["job_id"] for result in every(submitter, "/v1/results")] == [
            claim["job"]["id"]
        ]
    assert master.is_running, "the master exited"
    check_integrity(str(small_disk / "farm.db"))


def submit(submitter: httpx.Client) -> httpx.Response:
    body = msgspec.json.encode(factories.job())
    return submitter.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})


def report_result(agent: httpx.Client, claim: Any) -> httpx.Response:
    report = {"attempt": claim["attempt"], "measurement": factories.measurement()}
    return agent.post(
        f"/v1/jobs/{claim['job']['id']}/result",
        content=msgspec.json.encode(report),
        headers={"Content-Type": "application/json"},
    )


def fill_until_refused(filler: Path, submitter: httpx.Client) -> list[str]:
    """Fill the disk repeatedly until a job is refused; return the accepted jobs."""
    accepted = []
    for _ in range(500):
        fill(filler)
        answer = submit(submitter)
        if answer.status_code == _INSUFFICIENT_STORAGE:
            fill(filler)
            return accepted
        assert answer.status_code == 201, answer.text
        accepted.append(answer.json()["id"])
    raise AssertionError("the disk did not become full")


def fill(filler: Path) -> None:
    """Append to a file until there is no space on the disk."""
    with filler.open("ab", buffering=0) as file:
        for piece in (65536, 4096, 1):
            try:
                while file.write(b"x" * piece):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC


def wait_until_accepted(submitter: httpx.Client, acknowledged: list[str]) -> None:
    """Wait until a job is accepted again."""

    def accepted_id() -> str | None:
        answer = submit(submitter)
        if answer.status_code == 201:
            job_id: str = answer.json()["id"]
            return job_id
        assert answer.status_code == _INSUFFICIENT_STORAGE, answer.text
        return None

    acknowledged.append(wait_until(accepted_id, "jobs are accepted, because there is space"))
