"""Tests of the upload of FFmpeg's log.

The upload must be complete, must not repeat any bytes, and must not delay the attempt.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from ffrtmp_shared.agent_models import Claim
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_worker.agent.log_uploader import LogUploader
from ffrtmp_worker.ffmpeg.bounded_log import BoundedLog
from polling import wait_until

from .api_server import ApiServer
from .conftest import claim_of, scenario


@pytest.fixture
def claim(master: ApiServer, clip: Path) -> Claim:
    return claim_of(scenario(clip), heartbeat_s=0.02)


@pytest.fixture
def connect(master: ApiServer) -> Callable[[], MasterClient]:
    return lambda: MasterClient(master.url, "token", master.ca_file)


def chunks(master: ApiServer) -> list[tuple[int, bytes]]:
    """Return the chunks that the master has received, with their offsets."""
    found = {}
    for request in master.seen:
        if request.path.endswith("/log"):
            (offset,) = parse_qs(request.query)["offset"]
            assert parse_qs(request.query)["attempt"] == ["3"]
            found[int(offset)] = request.body
    return sorted(found.items())


def full_log(master: ApiServer) -> bytes:
    """Return the log that the master has received, whose chunks must be contiguous."""
    text = b""
    for offset, chunk in chunks(master):
        assert offset == len(text)
        text += chunk
    return text


def wait_for(master: ApiServer, text: bytes) -> None:
    wait_until(
        lambda: full_log(master) == text,
        lambda: f"the master has received {full_log(master)!r} instead of {text!r}",
        interval_s=0.01,
    )


def test_lines_are_sent_as_written_and_the_rest_at_the_end(
    master: ApiServer, claim: Claim, connect: Callable[[], MasterClient], tmp_path: Path
) -> None:
    file = tmp_path / "log"
    with LogUploader(claim, file, connect, LoopRegistry()):
        log = BoundedLog(file)
        log.write(b"ffmpeg -i in\n")
        wait_for(master, b"ffmpeg -i in\n")
        log.write(b"half a ")
        log.write(b"line\nand no end")
        wait_for(master, b"ffmpeg -i in\nhalf a line\n")
        log.close()
    assert full_log(master) == b"ffmpeg -i in\nhalf a line\nand no end"


def test_an_unanswered_chunk_is_sent_again_unchanged(
    master: ApiServer, claim: Claim, connect: Callable[[], MasterClient], tmp_path: Path
) -> None:
    file = tmp_path / "log"
    master.refuse("/log", 503, 500, 429)
    with LogUploader(claim, file, connect, LoopRegistry()):
        file.write_bytes(b"one\n")
        wait_for(master, b"one\n")
        with file.open("ab") as more:
            more.write(b"two\n")
        wait_for(master, b"one\ntwo\n")
    assert master.bodies("/log")[:4] == [b"one\n"] * 4


@pytest.mark.parametrize("status", [404, 409, 413])
def test_a_refusal_ends_the_upload(
    master: ApiServer,
    claim: Claim,
    connect: Callable[[], MasterClient],
    tmp_path: Path,
    status: int,
) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\n")
    master.refuse("/log", status)
    with LogUploader(claim, file, connect, LoopRegistry()):
        wait_for(master, b"one\n")
        with file.open("ab") as more:
            more.write(b"two\n")
    assert master.bodies("/log") == [b"one\n"]


def test_invalid_utf8_and_nul_are_replaced(
    master: ApiServer, claim: Claim, connect: Callable[[], MasterClient], tmp_path: Path
) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"a\xff\x00b\n" + "ä".encode() * 100_000 + b"\n" + b"end\n")
    with LogUploader(claim, file, connect, LoopRegistry()):
        pass
    text = full_log(master).decode()
    assert "\0" not in text
    assert text == "a\ufffd\ufffdb\n" + "ä" * 100_000 + "\nend\n"
    assert max(len(chunk) for _, chunk in chunks(master)) < 100_000


def test_without_a_log_nothing_is_sent(
    master: ApiServer, claim: Claim, connect: Callable[[], MasterClient], tmp_path: Path
) -> None:
    with LogUploader(claim, tmp_path / "log", connect, LoopRegistry()):
        pass
    assert master.bodies("/log") == []


@pytest.mark.slow
def test_an_unresponsive_master_does_not_delay_the_attempt(
    master: ApiServer, claim: Claim, connect: Callable[[], MasterClient], tmp_path: Path
) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\n")
    release = threading.Event()

    def connect_late() -> MasterClient:
        release.wait(20)
        return connect()

    start = time.monotonic()
    with LogUploader(claim, file, connect_late, LoopRegistry()):
        pass
    assert time.monotonic() - start < 10
    release.set()
    wait_for(master, b"one\n")
