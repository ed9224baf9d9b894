"""Tests of the deadlines of a connection, with times that the tests choose."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from databases import only
from ffrtmp_master.server import app
from ffrtmp_master.server.fast_path_protocol import FastPathProtocol
from ffrtmp_master.server.request_bounds import RequestBounds, bounds_of
from ffrtmp_master.server.request_ids import RequestIds
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from polling import TIMEOUT_S
from raw_connection import head
from recording_transport import Transport
from uvicorn.server import ServerState

pytestmark = only("sqlite")

GET = head("GET", "/healthz", {})
AGENT = {"Authorization": "Bearer token-worker1"}


class Connection:
    """A connection whose deadlines are checked at chosen times."""

    def __init__(self, services: Services, config: uvicorn.Config, bounds: RequestBounds) -> None:
        self.refusals: list[str] = []
        self.bounds = bounds
        self.transport = Transport()
        self.protocol = FastPathProtocol(
            services,
            RequestIds(),
            bounds=bounds,
            count_refusal=self.refusals.append,
            release=lambda: None,
            config=config,
            server_state=ServerState(),
            app_state={},
            _loop=asyncio.get_running_loop(),
        )
        transport: Any = self.transport
        self.protocol.connection_made(transport)
        self.now_s = 0.0
        self.advance(0)

    def send(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def advance(self, seconds: float) -> None:
        """Check the deadlines as often as the server does."""
        end_s = self.now_s + seconds
        while self.now_s <= end_s:
            self.protocol.enforce_deadlines(self.now_s)
            self.now_s += 1

    async def answer(self) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
            while not self.transport.written:
                await asyncio.sleep(0.01)
        found, self.transport.written = self.transport.written, b""
        return found


Exercise = Callable[[Connection], Awaitable[None]]


@pytest.fixture
def exercise(migrated: Settings) -> Callable[[Exercise], None]:
    """A function that runs a coroutine with a connection to a master."""

    async def run(given: Exercise) -> None:
        services = Services(migrated)
        application = app.create_app(services)
        config = uvicorn.Config(application, ws="none", log_config=None, lifespan="off")
        config.load()
        async with services.running():
            await given(Connection(services, config, bounds_of(migrated)))

    return lambda given: asyncio.run(run(given))


def test_a_silent_connection_is_closed(exercise: Callable[[Exercise], None]) -> None:
    async def silent(connection: Connection) -> None:
        connection.advance(connection.bounds.head_timeout_s - 2)
        assert not connection.transport.is_closed
        connection.advance(3)
        assert connection.transport.is_closed
        assert connection.transport.written == b""
        assert connection.refusals == ["idle"]

    exercise(silent)


def test_a_late_head_is_answered_with_408(exercise: Callable[[Exercise], None]) -> None:
    async def late(connection: Connection) -> None:
        for _ in range(3):
            connection.send(GET)
            assert (await connection.answer()).startswith(b"HTTP/1.1 200")
            connection.advance(20)
        connection.send(GET[:5])
        connection.advance(5)
        connection.send(GET[5:9])
        connection.advance(connection.bounds.head_timeout_s - 2)
        assert (await connection.answer()).startswith(b"HTTP/1.1 408")
        assert connection.transport.is_closed
        assert connection.refusals == ["head_timeout"]

    exercise(late)


@pytest.mark.parametrize(
    "begun",
    [
        head("POST", "/v1/claims", AGENT | {"Content-Length": "60000"}),
        head("POST", "/v1/claims", AGENT | {"Transfer-Encoding": "chunked"}) + b"ffff\r\n",
    ],
    ids=["fast path", "framework"],
)
def test_a_body_below_the_minimum_rate_ends(
    exercise: Callable[[Exercise], None], begun: bytes
) -> None:
    async def slow(connection: Connection) -> None:
        connection.send(begun)
        for _ in range(int(connection.bounds.body_window_s) + 2):
            connection.send(b"x")
            connection.advance(0)
        assert (await connection.answer()).startswith(b"HTTP/1.1 408")
        assert connection.transport.is_closed
        assert connection.refusals == ["body_rate"]

    exercise(slow)


def test_a_body_that_is_fast_enough_is_received(exercise: Callable[[Exercise], None]) -> None:
    async def steady(connection: Connection) -> None:
        connection.send(head("POST", "/v1/claims", {"Content-Length": "60000"}))
        for _ in range(10):
            connection.send(b" " * 5_000)
            connection.advance(0)
        assert connection.refusals == []
        connection.send(b" " * 10_000)
        # The request has no token.
        assert (await connection.answer()).startswith(b"HTTP/1.1 401")

    exercise(steady)


def test_a_body_that_is_no_longer_needed_ends(exercise: Callable[[Exercise], None]) -> None:
    async def unread(connection: Connection) -> None:
        connection.send(head("POST", "/v1/runs", {"Content-Length": "6000000"}))
        assert (await connection.answer()).startswith(b"HTTP/1.1 401")
        for _ in range(int(connection.bounds.unread_body_s) + 2):
            connection.send(b"x" * 100_000)
            connection.advance(0)
        assert connection.transport.is_closed
        assert connection.refusals == ["unread_body"]

    exercise(unread)


def test_a_client_that_does_not_read_is_disconnected(
    exercise: Callable[[Exercise], None],
) -> None:
    async def stalled(connection: Connection) -> None:
        connection.protocol.pause_writing()
        connection.advance(connection.bounds.stalled_response_s - 5)
        # A client that reads slowly is not disconnected.
        connection.protocol.resume_writing()
        connection.protocol.pause_writing()
        connection.advance(connection.bounds.stalled_response_s - 5)
        assert not connection.transport.is_closed
        connection.advance(10)
        assert connection.transport.is_aborted
        assert connection.refusals == ["response_stalled"]

    exercise(stalled)
