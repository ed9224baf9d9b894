"""Attacks on a listener by clients without a token. Each returns the statuses of the answers."""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from raw_connection import RawConnection, head

from .listeners import Listener

SILENT = 1000
HEADER_BYTES = 50 * 2**20
REQUEST_LINES = 20
SLOW_BODIES = 20

# The attacking connections use another address of the loopback interface, so that the limit per
# address does not concern the ordinary client. This is not possible if a remote farm is attacked.
_LOOPBACK = "127.0.0.1"
_ATTACKER = "127.0.0.66"
# The longest time until the server must have ended a connection. The defaults are below a minute.
_END_S = 60.0

Attack = Callable[[Listener], list[int | None]]


def source_of(listener: Listener) -> str | None:
    """Return the address from which a listener is attacked."""
    return _ATTACKER if listener.target.address[0] == _LOOPBACK else None


def send_long_request_lines(listener: Listener) -> list[int | None]:
    """Send request lines of 64 KiB."""
    return [_status_of(listener, head("GET", "/" + "x" * 65536, {})) for _ in range(REQUEST_LINES)]


def send_many_headers(listener: Listener) -> list[int | None]:
    """Send 50 MiB of five-byte headers, as long as the server reads them."""
    piece = b"a:b\r\n" * 13_000
    with listener.target.connected(source_of(listener), listener.context()) as connection:
        connection.send(b"GET /metrics HTTP/1.1\r\n")
        sent = 0
        while sent < HEADER_BYTES and connection.send(piece):
            sent += len(piece)
        statuses = [connection.status()]
        assert connection.closed_after_s(_END_S) is not None, "the connection stays open"
        return statuses


def send_large_headers(listener: Listener) -> list[int | None]:
    """Send single headers of 2 MiB."""
    return [_status_of(listener, head("GET", "/metrics", {"X": "y" * 2**21})) for _ in range(5)]


def stay_silent(listener: Listener) -> list[int | None]:
    """Open 1,000 connections that send nothing; the server must end all of them."""
    with ExitStack() as stack:
        opened = []
        for _ in range(SILENT):
            plain = listener.target.connect_without_tls(source_of(listener))
            opened.append(RawConnection(stack.enter_context(plain)))
        deadline_s = time.monotonic() + _END_S
        for connection in opened:
            left_s = max(deadline_s - time.monotonic(), 0.01)
            assert connection.closed_after_s(left_s) is not None, "a silent connection stays open"
    return []


def stay_silent_after_handshake(listener: Listener) -> list[int | None]:
    """Complete handshakes and send part of a request; the server must end the connections."""
    context = listener.context()
    with ExitStack() as stack:
        opened = []
        for number in range(100):
            with suppress(OSError):
                connection = stack.enter_context(
                    listener.target.connected(source_of(listener), context)
                )
                connection.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"[: number % 30])
                opened.append(connection)
        deadline_s = time.monotonic() + _END_S
        for connection in opened:
            left_s = max(deadline_s - time.monotonic(), 0.01)
            assert connection.closed_after_s(left_s) is not None, "a silent connection stays open"
    return []


def send_slow_bodies(listener: Listener) -> list[int | None]:
    """Announce bodies and send a byte from time to time; the server must end the connections."""
    context = listener.context()
    begun = head("POST", "/v1/claims", {"Content-Length": "60000"})
    with ExitStack() as stack:
        opened = []
        for _ in range(SLOW_BODIES):
            connection = stack.enter_context(
                listener.target.connected(source_of(listener), context)
            )
            connection.send(begun)
            opened.append(connection)
        deadline_s = time.monotonic() + _END_S
        unended = list(opened)
        while unended:
            assert time.monotonic() < deadline_s, "a slow body is still being received"
            unended = [connection for connection in unended if connection.send(b"x")]
            time.sleep(0.2)
        return [connection.status() for connection in opened]


def send_many_at_once(listener: Listener) -> list[int | None]:
    """Send requests without reading the answers."""
    statuses = []
    for _ in range(10):
        with listener.target.connected(source_of(listener), listener.context()) as connection:
            connection.stream.settimeout(5)
            connection.send(head("GET", "/metrics", {}) * 20_000)
            statuses.append(connection.status())
    return statuses


ATTACKS: tuple[Attack, ...] = (
    send_long_request_lines,
    send_many_headers,
    send_large_headers,
    stay_silent,
    stay_silent_after_handshake,
    send_slow_bodies,
    send_many_at_once,
)


def _status_of(listener: Listener, request: bytes) -> int | None:
    with listener.target.connected(source_of(listener), listener.context()) as connection:
        connection.send(request)
        return connection.status()
