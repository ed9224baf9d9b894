"""Tests of the limits that the listener enforces before a request is authenticated."""

import json
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import factories
import msgspec
import pytest
from databases import only
from ffrtmp_master.settings import Settings
from master_process import MasterProcess
from polling import wait_until
from raw_connection import RawConnection, Target, head

pytestmark = only("sqlite")

GET = head("GET", "/healthz", {})
AUTHORIZATION = {"Authorization": "Bearer token-worker1"}
PER_ADDRESS = 30
HEAD_TIMEOUT_S = 1.0

Start = Callable[..., Any]

REFUSED = (
    (head("GET", "/" + "x" * 65536, {}), 414, "request_line"),
    (b"GET /" + b"x" * 300_000, 414, "request_line"),
    (head("GET", "/healthz", {"X": "y" * 65536}), 431, "headers"),
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 300_000, 431, "headers"),
    (head("GET", "/healthz", {f"x{n}": "y" for n in range(150)}), 431, "headers"),
    (b"GET /healthz HTTP/1.1\r\n" + b"a:b\r\n" * 300, 431, "headers"),
    (head("POST", "/v1/jobs", {"Content-Length": "99999999"}), 413, "body"),
    (head("PUT", "/v1/sources/x", {"Content-Length": "9" * 15}), 413, "body"),
    (head("POST", "/v1/claims", {"Connection": "Upgrade", "Upgrade": "h2c"}), 400, "upgrade"),
    (b"CONNECT master:443 HTTP/1.1\r\nHost: master\r\n\r\n", 400, "upgrade"),
)


@pytest.fixture
def start(tmp_path: Path, migrated: Settings) -> Iterator[Callable[..., MasterProcess]]:
    """A function that starts a master with changed settings."""
    with ExitStack() as stack:

        def run(**changed: Any) -> MasterProcess:
            process = MasterProcess(tmp_path, msgspec.structs.replace(migrated, **changed))
            process.start()
            stack.callback(process.end, signal.SIGKILL)
            return process

        yield run


def target_of(master: MasterProcess) -> Target:
    return Target(master.url, master.ca_file)


@contextmanager
def connected(master: MasterProcess, source: str | None = None) -> Iterator[RawConnection]:
    with target_of(master).connected(source) as connection:
        yield connection


def resident_bytes(master: MasterProcess) -> int:
    assert master.process is not None
    pages = int(Path(f"/proc/{master.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def claim(wait_s: float) -> bytes:
    body = json.dumps({"node": "worker1", "slot": 1, "wait_s": wait_s}).encode()
    return head("POST", "/v1/claims", {**AUTHORIZATION, "Content-Length": str(len(body))}) + body


def refusals(master: MasterProcess) -> dict[str, float]:
    """Return the number of refusals by reason."""
    with master.http("viewer") as client:
        lines = client.get("/metrics").text.splitlines()
    prefix = 'ffrtmp_master_listener_refusals_total{reason="'
    found = [line.removeprefix(prefix).split('"} ') for line in lines if line.startswith(prefix)]
    return {reason: float(count) for reason, count in found}


def test_a_request_that_exceeds_a_limit_is_refused(start: Start) -> None:
    master = start()
    counted = refusals(master)
    for request_bytes, status, reason in REFUSED:
        with connected(master) as connection:
            connection.send(request_bytes)
            answer = connection.answer()
            assert answer.status == status, request_bytes[:100]
            assert answer.headers["content-type"] == "application/problem+json"
            assert json.loads(answer.body)["status"] == status
            assert answer.headers["connection"] == "close"
            assert connection.closed_after_s(5) is not None
        counted[reason] += 1
    assert refusals(master) == counted


def test_trailers_are_limited(start: Start) -> None:
    master = start()
    with connected(master) as connection:
        connection.send(head("POST", "/v1/claims", {"Transfer-Encoding": "chunked"}))
        connection.send(b"1\r\nx\r\n0\r\n" + b"a: b\r\n" * 60_000)
        # The request may have been answered before its trailers were received.
        assert connection.status() in (401, 431)
        assert connection.closed_after_s(5) is not None
    assert refusals(master)["headers"] == 1


def test_many_small_headers_do_not_use_memory(start: Start) -> None:
    master = start()
    with connected(master) as connection:
        connection.send(GET)
        assert connection.answer().status == 200
    before = resident_bytes(master)
    with connected(master) as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\n")
        piece = b"a:b\r\n" * 20_000
        sent = 0
        while sent < 49 * 2**20 and connection.send(piece):
            sent += len(piece)
        assert resident_bytes(master) - before < 64 * 2**20
        assert connection.closed_after_s(10) is not None
    assert resident_bytes(master) - before < 64 * 2**20
    assert refusals(master)["headers"] == 1


@pytest.mark.slow
def test_unfinished_heads_and_silent_connections_are_ended(start: Start) -> None:
    master = start(head_timeout_s=HEAD_TIMEOUT_S, handshake_timeout_s=HEAD_TIMEOUT_S)
    with ExitStack() as stack:
        silent = [target_of(master).connect_without_tls() for _ in range(3)]
        for plain in silent:
            stack.enter_context(plain)
        secured = stack.enter_context(connected(master))
        partial = stack.enter_context(connected(master))
        partial.send(GET[:-2])
        later = stack.enter_context(connected(master))
        later.send(GET)
        assert later.answer().status == 200
        later.send(GET[:10])
        assert partial.status() == 408
        assert later.status() == 408
        for connection in (partial, later, secured, *map(RawConnection, silent)):
            assert connection.closed_after_s(8) is not None
    counted = refusals(master)
    assert counted["handshake"] == 3
    assert counted["head_timeout"] == 2
    assert counted["idle"] == 1


@pytest.mark.slow
def test_an_idle_connection_is_closed_but_a_parked_claim_is_not(start: Start) -> None:
    master = start(idle_timeout_s=1, head_timeout_s=1)
    with master.client("worker1") as client:
        client.register(factories.registration("worker1"))
    with (
        connected(master) as idle,
        connected(master) as parked,
        master.http("viewer") as viewer,
        viewer.stream("GET", "/v1/events") as events,
    ):
        lines = events.iter_lines()
        assert next(lines) == ": following"
        start_s = time.monotonic()
        parked.send(claim(wait_s=5))
        idle.send(GET)
        assert idle.answer().status == 200
        closed_s = idle.closed_after_s(5)
        assert closed_s is not None
        assert closed_s >= 0.5
        assert parked.answer().status == 204
        assert time.monotonic() - start_s >= 5
        assert [next(lines) for _ in range(2)][-1] == ": nothing new"


def test_connections_are_limited_for_each_address(start: Start) -> None:
    master = start(connections_per_address_max=PER_ADDRESS)
    with ExitStack() as stack:
        attackers = [
            stack.enter_context(target_of(master).connect_without_tls("127.0.0.2"))
            for _ in range(PER_ADDRESS + 10)
        ]
        refused = [
            connection
            for connection in attackers[PER_ADDRESS:]
            if RawConnection(connection).closed_after_s(5) is not None
        ]
        assert len(refused) == 10
        with connected(master, "127.0.0.3") as other:
            other.send(GET)
            assert other.answer().status == 200
        # A connection that has ended makes room for another one.
        attackers[0].close()

        def status_of_another() -> int | None:
            try:
                with connected(master, "127.0.0.2") as another:
                    another.send(GET)
                    return another.status()
            except OSError:
                return None

        assert wait_until(status_of_another, "another connection is accepted") == 200
    assert refusals(master)["connections_per_address"] >= 10
    assert "connections_per_address_max is 30" in master.log.read_text()


def test_load_balancers_are_exempt_from_the_limit_per_address(start: Start) -> None:
    master = start(connections_per_address_max=2, trusted_proxies=("127.0.0.2/32",))
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(connected(master, "127.0.0.2"))
            connection.send(GET)
            assert connection.answer().status == 200


def test_connections_are_limited_in_total(start: Start) -> None:
    master = start(connections_max=4)
    with ExitStack() as stack:
        for number in range(4):
            stack.enter_context(target_of(master).connect_without_tls(f"127.0.0.{number + 2}"))
        last = stack.enter_context(target_of(master).connect_without_tls("127.0.0.9"))
        assert RawConnection(last).closed_after_s(5) is not None
    assert "connections_max is 4" in master.log.read_text()


def test_many_requests_before_an_answer_are_refused(start: Start) -> None:
    master = start()
    with master.client("worker1") as client:
        client.register(factories.registration("worker1"))
    with connected(master) as connection:
        connection.send(claim(wait_s=30) + GET * 100)
        assert connection.closed_after_s(10) is not None
    assert refusals(master)["pipelined"] == 1


def test_a_pipelined_client_that_disconnects_gets_no_lease(start: Start) -> None:
    master = start()
    with master.client("worker1") as client:
        client.register(factories.registration("worker1"))
    with master.http("submitter") as submitter, master.client("worker1") as agent:
        for behind in (GET, GET * 3, head("PUT", "/v1/nodes/worker1", AUTHORIZATION)):
            with connected(master) as connection:
                connection.send(claim(wait_s=30) + behind)
                wait_until_parked(submitter, 1)
            wait_until_parked(submitter, 0)
            job = submitter.post(
                "/v1/jobs",
                content=msgspec.json.encode(factories.job()),
                headers={"Content-Type": "application/json"},
            )
            assert job.status_code == 201
            found = submitter.get(f"/v1/jobs/{job.json()['id']}").json()
            assert found["state"] == "queued"
            found = submitter.post(f"/v1/jobs/{job.json()['id']}/cancel")
            assert found.is_success
        del agent


def wait_until_parked(client: Any, count: int) -> None:
    """Wait until the master has a number of parked claims."""
    wanted = f"ffrtmp_master_claims_parked {count:.1f}"
    wait_until(lambda: wanted in client.get("/metrics").text, wanted, interval_s=0.02)
