"""A minimal HTTP/1.1 client over TLS that sends one request at a time on each connection."""

import asyncio
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

from ffrtmp_shared.credentials import client_context

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_STATUS = slice(9, 12)

NO_CONTENT = 204


@dataclass(frozen=True)
class Address:
    """The address of a master, and the file with the CA of its certificate."""

    port: int
    ca_file: Path
    host: str = "127.0.0.1"


class Answer(NamedTuple):
    """An answer, and the time at which it was complete, from `time.perf_counter`."""

    status: int
    body: bytes
    at: float


class ConnectionBrokenError(Exception):
    """Raised if the master closes the connection during a request."""


class UnexpectedAnswerError(Exception):
    """Raised if the master answers with an unexpected status."""


def expect(answer: Answer, *statuses: int) -> Answer:
    """Return the answer; raise UnexpectedAnswerError unless it has one of the statuses."""
    if answer.status not in statuses:
        raise UnexpectedAnswerError(f"{answer.status} instead of {statuses}: {answer.body[:500]!r}")
    return answer


class Connection(asyncio.Protocol):
    """A keep-alive connection on which one request at a time can be sent."""

    def __init__(self) -> None:
        """Create a connection that is not open yet."""
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        # uvloop's transports are not instances of asyncio's class, but have the same interface.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the waiting call fail."""
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionBrokenError(str(exc)))

    def data_received(self, data: bytes) -> None:
        """Complete the waiting call when its answer is complete."""
        if self._received:
            data = self._received + data
        head_end = data.find(_HEAD_END)
        if head_end < 0:
            self._received = data
            return
        head = data[:head_end]
        length = _LENGTH.search(head)
        body_start = head_end + len(_HEAD_END)
        if length is None and _CHUNKED.search(head):
            if not data.endswith(b"\r\n0\r\n\r\n"):
                self._received = data
                return
            body = _unchunked(data[body_start:])
        else:
            end = body_start + (int(length[1]) if length else 0)
            if len(data) < end:
                self._received = data
                return
            body = data[body_start:end]
        self._received = b""
        if self._waiting is not None and not self._waiting.done():
            answer = Answer(int(head[_STATUS]), body, time.perf_counter())
            self._waiting.set_result(answer)

    @property
    def is_open(self) -> bool:
        """Return whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def call(self, request: bytes) -> Answer:
        """Send a request and return its answer; raises ConnectionBrokenError."""
        if self._transport is None:
            raise ConnectionBrokenError("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class Caller:
    """A connection to a master that is reopened if the master closed it while it was idle."""

    def __init__(self, address: Address, context: ssl.SSLContext) -> None:
        """Prepare a connection, which is opened by `connect` or by the first request."""
        self._address = address
        self._context = context
        self._connection: Connection | None = None

    async def connect(self) -> None:
        """Open the connection."""
        _, self._connection = await asyncio.get_running_loop().create_connection(
            Connection,
            self._address.host,
            self._address.port,
            ssl=self._context,
            server_hostname=self._address.host,
        )

    async def call(self, request: bytes) -> Answer:
        """Send a request and return its answer; raises ConnectionBrokenError."""
        if self._connection is None or not self._connection.is_open:
            await self.connect()
            assert self._connection is not None
        return await self._connection.call(request)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


async def callers(address: Address, count: int) -> list[Caller]:
    """Open `count` connections, a few at a time so that none is refused."""
    context = client_context(address.ca_file)
    opened = [Caller(address, context) for _ in range(count)]
    limit = asyncio.Semaphore(32)

    async def connect(caller: Caller) -> None:
        async with limit:
            await caller.connect()

    await asyncio.gather(*(connect(caller) for caller in opened))
    return opened


def close_all(opened: Sequence[Caller]) -> None:
    """Close all connections."""
    for caller in opened:
        caller.close()


def _unchunked(data: bytes) -> bytes:
    """Join the chunks of a body."""
    pieces = []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(data[:length])
        data = data[length + 2 :]
    return b"".join(pieces)
