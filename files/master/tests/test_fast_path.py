"""Tests of the fast path if the client disconnects or the master stops during a request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import factories
import msgspec
import pytest
import uvicorn
from databases import only
from ffrtmp_master.queue import requests
from ffrtmp_master.server import app
from ffrtmp_master.server.fast_path_protocol import FastPathProtocol
from ffrtmp_master.server.request_bounds import bounds_of
from ffrtmp_master.server.request_ids import RequestIds
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from polling import TIMEOUT_S
from recording_transport import Transport
from uvicorn.server import ServerState

pytestmark = only("sqlite")

CLAIM = b'{"node":"worker1","slot":1,"wait_s":0}'


@asynccontextmanager
async def connected(
    settings: Settings,
) -> AsyncIterator[tuple[Services, FastPathProtocol, Transport]]:
    """Yield a connection to a master that has one node and one queued job."""
    services = Services(settings)
    config = uvicorn.Config(app.create_app(services), ws="none", log_config=None, lifespan="off")
    config.load()
    async with services.running():
        protocol = FastPathProtocol(
            services,
            RequestIds(),
            bounds=bounds_of(settings),
            count_refusal=services.metrics.count_refusal,
            release=lambda: None,
            config=config,
            server_state=ServerState(),
            app_state={},
            _loop=asyncio.get_running_loop(),
        )
        transport: Any = Transport()
        protocol.connection_made(transport)
        registration = msgspec.json.encode(factories.registration("worker1"))
        protocol.data_received(request("PUT", "/v1/nodes/worker1", "worker1", registration))
        await until_written(transport, b"HTTP/1.1 200")
        job = msgspec.json.encode(factories.job())
        protocol.data_received(request("POST", "/v1/jobs", "submitter", job))
        await until_written(transport, b"HTTP/1.1 201")
        yield services, protocol, transport


def request(method: str, path: str, caller: str, body: bytes) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: master",
        f"Authorization: Bearer token-{caller}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def until_written(transport: Transport, beginning: bytes) -> bytes:
    """Wait for an answer, check its beginning, and remove it from the transport."""
    async with asyncio.timeout(TIMEOUT_S):
        while not transport.written:
            await asyncio.sleep(0.01)
    answer, transport.written = transport.written, b""
    assert answer.startswith(beginning), answer
    return answer


def test_a_client_that_disconnects_during_authentication_claims_no_job(
    migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def exercise() -> None:
        async with connected(migrated) as (services, protocol, transport):
            authenticate, released = services.authenticator.authenticate, asyncio.Event()

            async def slowly(*arguments: Any) -> Any:
                await released.wait()
                return await authenticate(*arguments)

            monkeypatch.setattr(services.authenticator, "authenticate", slowly)
            protocol.data_received(request("POST", "/v1/claims", "worker1", CLAIM))
            await asyncio.sleep(0)
            protocol.connection_lost(None)
            released.set()
            await asyncio.wait(set(protocol.tasks), timeout=TIMEOUT_S)
            assert transport.written == b""
            claimed = await services.writer.apply_request(requests.ClaimJob("worker1", 1))
            assert claimed.job is not None
            assert claimed.job.attempt == 1, "the job was not claimed before"

    asyncio.run(exercise())


def test_a_client_that_does_not_read_gets_no_further_answers(migrated: Settings) -> None:
    async def exercise() -> None:
        async with connected(migrated) as (_, protocol, transport):
            protocol.pause_writing()
            protocol.data_received(request("POST", "/v1/claims", "worker1", CLAIM))
            await asyncio.sleep(0.3)
            assert transport.written == b""
            protocol.resume_writing()
            await until_written(transport, b"HTTP/1.1 200")

    asyncio.run(exercise())


def test_a_request_in_transfer_is_answered_before_the_stop(migrated: Settings) -> None:
    async def exercise() -> None:
        async with connected(migrated) as (_, protocol, transport):
            whole = request("POST", "/v1/claims", "worker1", CLAIM)
            protocol.data_received(whole[:-10])
            protocol.shutdown()
            assert not transport.is_closed
            protocol.data_received(whole[-10:])
            answer = await until_written(transport, b"HTTP/1.1 200")
            assert b"connection: close\r\n" in answer
            assert transport.is_closed

    asyncio.run(exercise())
