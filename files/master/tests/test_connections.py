"""Tests that the fast path and the framework give the same answers on a real connection."""

import json
import signal
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from uuid import uuid4

import factories
import pytest
from databases import only
from ffrtmp_master.settings import Settings
from ffrtmp_shared.credentials import client_context
from master_process import MasterProcess
from polling import TIMEOUT_S

pytestmark = only("sqlite")

HOST = "127.0.0.1"
CLAIM = {"node": "worker1", "slot": 1, "wait_s": 0}


@pytest.fixture
def master(tmp_path: Path, migrated: Settings) -> Iterator[MasterProcess]:
    """A running master with the node worker1 and without jobs."""
    process = MasterProcess(tmp_path, migrated)
    process.start()
    with process.client("worker1") as client:
        client.register(factories.registration("worker1"))
    yield process
    process.end(signal.SIGKILL)


class Connection:
    """A keep-alive connection that sends bytes and reads answers."""

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self.stream = stream

    def send(self, *pieces: bytes, pause_s: float = 0.1) -> None:
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(pause_s)
            self.stream.sendall(piece)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        response = HTTPResponse(self.stream, method="POST")
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()

    def is_closed(self) -> bool:
        # This is shorter than the time after which the master closes idle connections.
        self.stream.settimeout(30)
        return self.stream.recv(1) == b""


@contextmanager
def connected(master: MasterProcess) -> Iterator[Connection]:
    context = client_context(master.ca_file)
    port = int(master.url.rpartition(":")[2])
    with (
        socket.create_connection((HOST, port), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as stream,
    ):
        yield Connection(stream)


def request(
    body: bytes,
    path: str = "/v1/claims",
    *,
    token: str = "token-worker1",  # noqa: S107 - a token of the tests
    version: str = "1.1",
    headers: Mapping[str, str] = {},
) -> bytes:
    """Return a request with a Content-Length header, which the fast path answers."""
    return head(path, token, version, {"Content-Length": str(len(body)), **headers}) + body


def chunked(body: bytes, path: str = "/v1/claims", *, token: str = "token-worker1") -> bytes:  # noqa: S107
    """Return a request with a chunked body, which the framework answers."""
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return head(path, token, "1.1", {"Transfer-Encoding": "chunked"}) + chunks


def head(path: str, token: str, version: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/{version}", f"Host: {HOST}", f"Authorization: Bearer {token}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def test_fast_path_and_framework_give_the_same_answers(master: MasterProcess) -> None:
    beat = as_json({"attempt": 1, "progress": {"stage": "encode"}})
    invalid = as_json({**CLAIM, "slot": "first"})
    cases: list[tuple[bytes, dict[str, str], int]] = [
        (as_json(CLAIM), {}, 204),
        (as_json(CLAIM), {"token": "unknown"}, 401),
        (as_json(CLAIM), {"token": "token-viewer"}, 403),
        (as_json({**CLAIM, "node": "worker2"}), {}, 403),
        (invalid, {}, 400),
        (b"", {}, 400),
        (beat, {"path": f"/v1/jobs/{uuid4()}/heartbeat"}, 404),
        (beat, {"path": "/v1/jobs/first/heartbeat"}, 404),
    ]
    with connected(master) as connection:
        for body, options, status in cases:
            answers = []
            for raw_request in (request(body, **options), chunked(body, **options)):  # type: ignore[arg-type]
                connection.send(raw_request)
                found, headers, content = connection.answer()
                assert headers.pop("x-request-id")
                assert headers.pop("date")
                # RFC 9110, section 8.6: an answer with the status 204 has no Content-Length.
                assert ("content-length" in headers) == (found != 204)
                answers.append((found, headers, content))
            assert answers[0] == answers[1]
            assert answers[0][0] == status, (body, options)


def test_a_body_may_come_in_pieces(master: MasterProcess) -> None:
    whole = request(as_json(CLAIM))
    with connected(master) as connection:
        for cut in (10, len(whole) - len(as_json(CLAIM)), len(whole) - 5):
            connection.send(whole[:cut], whole[cut:])
            assert connection.answer()[0] == 204


def test_pipelined_requests_are_answered_in_order(master: MasterProcess) -> None:
    pipelined = [
        request(as_json(CLAIM), headers={"X-Request-ID": "first"}),
        request(b"{", headers={"X-Request-ID": "second"}),
        chunked(as_json(CLAIM)),
        request(as_json(CLAIM), token="unknown", headers={"X-Request-ID": "fourth"}),
        request(as_json(CLAIM), headers={"X-Request-ID": "fifth"}),
    ]
    with connected(master) as connection:
        connection.send(b"".join(pipelined))
        answers = [connection.answer() for _ in pipelined]
    assert [status for status, _, _ in answers] == [204, 400, 204, 401, 204]
    ids = [headers["x-request-id"] for _, headers, _ in answers]
    assert [*ids[:2], *ids[3:]] == ["first", "second", "fourth", "fifth"]


def test_expect_100_continue_is_answered(master: MasterProcess) -> None:
    body = as_json(CLAIM)
    whole = request(body, headers={"Expect": "100-continue"})
    with connected(master) as connection:
        connection.send(whole[: -len(body)])
        assert connection.stream.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(body)
        assert connection.answer()[0] == 204


@pytest.mark.parametrize(
    "raw_request",
    [
        request(as_json(CLAIM), headers={"Connection": "close"}),
        request(as_json(CLAIM), version="1.0"),
    ],
    ids=["connection close", "HTTP/1.0"],
)
def test_a_connection_without_keep_alive_is_closed(
    master: MasterProcess, raw_request: bytes
) -> None:
    with connected(master) as connection:
        connection.send(raw_request)
        status, headers, _ = connection.answer()
        assert (status, headers["connection"]) == (204, "close")
        assert connection.is_closed()


def test_a_large_body_and_an_escaped_path_are_accepted(master: MasterProcess) -> None:
    with connected(master) as connection:
        for raw_request in (
            request(as_json(CLAIM).ljust(200_000)),
            request(as_json(CLAIM), "/v1/%63laims"),
        ):
            connection.send(raw_request)
            assert connection.answer()[0] == 204
        connection.send(request(as_json(CLAIM).ljust(5_000_000)))
        assert connection.answer()[0] == 413


def test_invalid_http_is_refused(master: MasterProcess) -> None:
    with connected(master) as connection:
        connection.send(b"POST /v1/claims HTTP/1.1\r\nContent-Length: many\r\n\r\n")
        assert connection.answer()[0] == 400
        assert connection.is_closed()
