"""Tests of the logs of attempts.

They cover repeated chunks, the size limit, reading a complete log, and following a log.
"""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import in_process_master
import pytest
from databases import only
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from in_process_master import MasterHarness, SetClock
from listening_master import ListeningMaster, listening_master
from msgspec.structs import replace
from polling import TIMEOUT_S


def put(
    harness: MasterHarness, claim: Any, piece: str | bytes, node: str = "worker1", **query: int
) -> Any:
    params = {"attempt": claim["attempt"], **query}
    path = f"/v1/jobs/{claim['job']['id']}/log"
    headers = {"Content-Type": "text/plain"}
    content = piece.encode() if isinstance(piece, str) else piece
    return harness.call(node, "POST", path, params=params, content=content, headers=headers)


def read(harness: MasterHarness, claim: Any, **query: Any) -> str:
    answer = harness.call("viewer", "GET", f"/v1/jobs/{claim['job']['id']}/log", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.text


@pytest.fixture
def claimed(ready_harness: MasterHarness) -> Any:
    ready_harness.submit()
    return ready_harness.claim("worker1")


def test_pieces_are_appended(ready_harness: MasterHarness, claimed: Any) -> None:
    assert read(ready_harness, claimed) == ""
    assert put(ready_harness, claimed, "one\n").json() == {"size_bytes": 4, "repeated": False}
    assert put(ready_harness, claimed, "zwei: ä\n").json()["size_bytes"] == 13
    assert put(ready_harness, claimed, "").json() == {"size_bytes": 13, "repeated": False}
    assert read(ready_harness, claimed) == "one\nzwei: ä\n"
    assert read(ready_harness, claimed, attempt=1) == "one\nzwei: ä\n"


def test_a_piece_that_is_sent_again_is_stored_once(
    ready_harness: MasterHarness, claimed: Any
) -> None:
    long = "x" * 100_000 + "ü" * 50_000
    for repeated in (False, True):
        answer = put(ready_harness, claimed, long, offset=0)
        assert answer.json() == {"size_bytes": 200_000, "repeated": repeated}
    for repeated in (False, True):
        answer = put(ready_harness, claimed, "end", offset=200_000)
        assert answer.json() == {"size_bytes": 200_003, "repeated": repeated}
    assert put(ready_harness, claimed, long, offset=0).json()["repeated"] is True
    assert read(ready_harness, claimed) == long + "end"


@pytest.mark.parametrize(("piece", "offset"), [("other", 0), ("later", 9), ("ne\n", 1), ("o", 0)])
def test_a_piece_that_does_not_fit_is_refused(
    ready_harness: MasterHarness, claimed: Any, piece: str, offset: int
) -> None:
    assert put(ready_harness, claimed, "one\n", offset=0).is_success
    answer = put(ready_harness, claimed, piece, offset=offset)
    assert answer.status_code == 409
    assert "the log ends at byte 4" in answer.json()["detail"]
    assert read(ready_harness, claimed) == "one\n"


@pytest.mark.parametrize("piece", [b"\xff\xfe", b"a\x00b"])
def test_bytes_that_no_database_stores_are_refused(
    ready_harness: MasterHarness, claimed: Any, piece: bytes
) -> None:
    assert put(ready_harness, claimed, piece).status_code == 422
    assert read(ready_harness, claimed) == ""


def test_each_attempt_has_a_log_that_is_closed_when_it_ends(
    ready_harness: MasterHarness, claimed: Any, clock: SetClock
) -> None:
    assert put(ready_harness, claimed, "first").is_success
    assert ready_harness.fail(claimed, "network").is_success
    assert put(ready_harness, claimed, "too late").status_code == 409
    clock.advance(3600)
    again = ready_harness.claim("worker1")
    assert again["attempt"] == 2
    assert put(ready_harness, claimed, "too late").status_code == 409
    assert put(ready_harness, again, "second").is_success
    assert read(ready_harness, again) == "second"
    assert read(ready_harness, again, attempt=1) == "first"


def test_logs_are_protected_and_unknown_ones_are_not_found(
    ready_harness: MasterHarness, claimed: Any
) -> None:
    assert put(ready_harness, claimed, "x", node="worker2").status_code == 409
    assert put(ready_harness, claimed, "x", node="submitter").status_code == 403
    path = f"/v1/jobs/{claimed['job']['id']}/log"
    assert ready_harness.call("worker1", "GET", path).status_code == 403
    assert ready_harness.call("viewer", "GET", path, params={"attempt": 2}).status_code == 404
    assert ready_harness.call("viewer", "GET", path, params={"attempt": 0}).status_code == 400
    unknown_job = path.replace(claimed["job"]["id"], "0198c5f0-0000-7000-8000-000000000000")
    assert ready_harness.call("viewer", "GET", unknown_job).status_code == 404
    query = {"attempt": 1}
    assert (
        ready_harness.call("worker1", "POST", unknown_job, params=query, content="x").status_code
        == 404
    )
    assert ready_harness.call("worker1", "POST", path, content=b"x").status_code == 400


def test_an_unclaimed_job_has_an_empty_log(ready_harness: MasterHarness) -> None:
    job = ready_harness.submit()
    assert read(ready_harness, {"job": job}, follow=True) == ""


@pytest.fixture
def small_harness(migrated: Settings, clock: SetClock) -> Iterator[MasterHarness]:
    """A master that stores at most 1,000 bytes of a log."""
    services = Services(replace(migrated, max_log_bytes=1000), clock, maintenance_interval_s=3600)
    with in_process_master.running_master(services, clock) as harness:
        harness.register("worker1")
        harness.submit()
        yield harness


@pytest.mark.parametrize("announced", [True, False])
def test_a_log_is_bounded(small_harness: MasterHarness, announced: bool) -> None:
    claim = small_harness.claim("worker1")
    assert put(small_harness, claim, "x" * 600).is_success
    assert put(small_harness, claim, "y" * 401).status_code == 413
    path = f"/v1/jobs/{claim['job']['id']}/log"
    content = b"z" * 1001 if announced else iter([b"z" * 1000, b"z"])
    large = small_harness.call("worker1", "POST", path, params={"attempt": 1}, content=content)
    assert large.status_code == 413
    assert put(small_harness, claim, "y" * 400).json()["size_bytes"] == 1000
    assert put(small_harness, claim, "y" * 400, offset=600).json()["repeated"] is True
    assert put(small_harness, claim, "!").status_code == 413
    assert read(small_harness, claim) == "x" * 600 + "y" * 400


class Master:
    """A master that listens on a port, with a client and a harness for requests to it."""

    def __init__(self, at: ListeningMaster) -> None:
        self.at = at
        self.client = httpx.Client(base_url=at.url, timeout=TIMEOUT_S)
        self.harness = MasterHarness(at.services, self.client, SetClock())  # type: ignore[arg-type]

    def follow(self, claim: Any) -> Any:
        return self.client.stream(
            "GET",
            f"/v1/jobs/{claim['job']['id']}/log",
            params={"follow": "true"},
            headers={"Authorization": "Bearer token-viewer"},
        )


@pytest.fixture
def master(migrated: Settings, clock: SetClock) -> Iterator[Master]:
    with listening_master(Services(migrated, clock, maintenance_interval_s=3600)) as at:
        master = Master(at)
        master.harness.register("worker1")
        master.harness.submit()
        yield master
        master.client.close()


@pytest.mark.slow
def test_a_log_is_followed_while_it_grows(master: Master) -> None:
    claim = master.harness.claim("worker1")
    put(master.harness, claim, "before\n")
    with master.follow(claim) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "before"
        for number in range(3):
            put(master.harness, claim, f"line {number}\n")
            assert next(lines) == f"line {number}"
        put(master.harness, claim, "last\n")
        assert master.harness.result(claim).is_success
        assert list(lines) == ["last"]


@pytest.mark.slow
def test_many_followers_hold_no_transaction(master: Master) -> None:
    claim = master.harness.claim("worker1")
    put(master.harness, claim, "begin\n")
    received: list[str] = []
    started = threading.Semaphore(0)

    def follow() -> None:
        with (
            Master(master.at).client as client,
            client.stream(
                "GET",
                f"/v1/jobs/{claim['job']['id']}/log",
                params={"follow": "true"},
                headers={"Authorization": "Bearer token-viewer"},
            ) as answer,
        ):
            parts = answer.iter_text()
            text = next(parts)
            started.release()
            received.append(text + "".join(parts))

    threads = [threading.Thread(target=follow) for _ in range(40)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert started.acquire(timeout=TIMEOUT_S)
    assert len(master.at.services.log_feed) == 40
    put(master.harness, claim, "end\n")
    assert master.harness.result(claim).is_success
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert received == ["begin\nend\n"] * 40


def test_follow_ends_when_the_master_stops(master: Master) -> None:
    claim = master.harness.claim("worker1")
    put(master.harness, claim, "begin\n")
    with master.follow(claim) as answer:
        parts = answer.iter_text()
        assert next(parts) == "begin\n"
        master.at.stop()
        assert list(parts) == []


@pytest.mark.slow
@only("postgresql")
def test_a_log_is_followed_at_another_master(
    master: Master, migrated: Settings, clock: SetClock
) -> None:
    claim = master.harness.claim("worker1")
    put(master.harness, claim, "begin\n")
    with listening_master(Services(migrated, clock, maintenance_interval_s=3600)) as at:
        other = Master(at)
        with other.follow(claim) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "begin"
            put(master.harness, claim, "more\n")
            assert next(lines) == "more"
            assert master.harness.result(claim).is_success
            assert list(lines) == []
        other.client.close()
