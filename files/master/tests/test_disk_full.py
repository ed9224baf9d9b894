"""Tests of a master whose disk is full.

It refuses writes with the status 507, continues to answer reads, and does not lose any acknowledged
data.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import pytest
from databases import only, settings_for
from ffrtmp_master.settings import Settings
from master_process import MasterProcess
from msgspec.structs import replace
from postgresql import Database

MIB = 1024 * 1024


def mount(*arguments: object) -> None:
    program = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    subprocess.run([*program, *map(str, arguments)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o777)
    mount("mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", folder)
    yield folder
    mount("umount", folder)


@pytest.fixture
def master(template_file: Path, disk: Path, tmp_path: Path) -> Iterator[MasterProcess]:
    """A master whose database and files are on the small disk."""
    shutil.copy(template_file, disk / "farm.db")
    settings: Settings = settings_for(Database(f"sqlite:///{disk}/farm.db"), tmp_path)
    # Without reserved space, the disk becomes full.
    settings = replace(settings, data_dir=disk, max_source_bytes=100 * MIB, reserved_bytes=0)
    with MasterProcess(tmp_path, settings).serving() as serving:
        yield serving


def put_source(client: httpx.Client, data: bytes) -> tuple[str, int]:
    path = f"/v1/sources/{hashlib.sha256(data).hexdigest()}"
    return path, client.put(path, content=data).status_code


def until_full(send: Callable[[int], tuple[str, int]]) -> list[str]:
    """Send data until the disk is full, and return the names of the acknowledged data."""
    acknowledged = []
    for number in range(20_000):
        name, status = send(number)
        if status == HTTPStatus.INSUFFICIENT_STORAGE:
            return acknowledged
        assert status < 300, status
        acknowledged.append(name)
    raise AssertionError("the disk did not become full")


@pytest.mark.slow
@only("sqlite")
def test_a_full_disk_refuses_only_writes_until_there_is_space(
    master: MasterProcess, disk: Path, engine: str
) -> None:
    def send_source(number: int) -> tuple[str, int]:
        return put_source(client, bytes([number]) * MIB)

    def send_job(_number: int) -> tuple[str, int]:
        answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        if answer.status_code == HTTPStatus.INSUFFICIENT_STORAGE:
            assert answer.headers["content-type"] == "application/problem+json"
            return "", answer.status_code
        return answer.json()["id"], answer.status_code

    def jobs() -> set[str]:
        found: set[str] = set()
        cursor: Any = ""
        while cursor is not None:
            page = client.get("/v1/jobs", params={"cursor": cursor, "limit": 1000}).json()
            found |= {job["id"] for job in page["items"]}
            cursor = page["next_cursor"]
        return found

    body = msgspec.json.encode(factories.job())
    with master.http("submitter") as client:
        sources = until_full(send_source)
        assert 3 < len(sources) < 8
        assert not list((disk / "sources").glob(".upload-*")), "partial uploads are removed"
        acknowledged = until_full(send_job)
        assert acknowledged
        for path in sources:
            assert len(client.get(path).content) == MIB
        assert set(acknowledged) <= jobs()
        assert client.get("/readyz").is_success
        _, status = put_source(client, b"new" * MIB)
        assert status == HTTPStatus.INSUFFICIENT_STORAGE
        mount("mount", "-o", "remount,size=64m", disk)
        more, status = send_job(0)
        assert status == HTTPStatus.CREATED, "writes resume without a restart"
        assert {*acknowledged, more} <= jobs()
        path, status = put_source(client, b"new" * MIB)
        assert status == HTTPStatus.NO_CONTENT
        assert len(client.get(path).content) == 3 * MIB
