"""Connections of probes to components: requests over TLS, and the reasons of their failures."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from http import HTTPStatus
from typing import NamedTuple

import h11
from ffrtmp_shared import certificate_dates

from ffrtmp_master.exporters.tls_stream import TlsStream

_BODY_BYTES_MAX = 4 * 1024 * 1024
_HEAD_BYTES_MAX = 64 * 1024
# The request for encryption of PostgreSQL's protocol 3: its length and its code, 1234 and 5679.
_SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
_SSL_ACCEPTED = b"S"

BeforeTls = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Exchanges data over a new connection before its TLS handshake."""


class ProbeFailure(StrEnum):
    """Reasons for which a probe fails."""

    TIMEOUT = "timeout"
    NAME_NOT_RESOLVED = "name_not_resolved"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_FAILED = "connection_failed"
    CERTIFICATE_REJECTED = "certificate_rejected"
    TLS_FAILED = "tls_failed"
    UNEXPECTED_STATUS = "unexpected_status"
    UNEXPECTED_RESPONSE = "unexpected_response"
    OFFLINE = "offline"


class ProbeFailedError(Exception):
    """A component is not reachable, or its response is not one of a working component."""

    def __init__(self, failure: ProbeFailure, message: str = "") -> None:
        """Store the reason; the message is only logged.

        `certificate_end_s` is the expiry of the certificate that the component presented, if any.
        """
        super().__init__(message or failure)
        self.failure = failure
        self.certificate_end_s: float | None = None


class Visit(NamedTuple):
    """The bodies of the responses of a component, and the expiry of its certificate.

    The expiry is a Unix time in seconds.
    """

    bodies: tuple[bytes, ...]
    certificate_end_s: float | None


async def visit_http(
    host: str, port: int, targets: Sequence[str], context: ssl.SSLContext
) -> Visit:
    """Request all targets over one connection. The caller limits the time by canceling this call.

    Args:
        host: The name or address of the component.
        port: The port of the component.
        targets: Paths with their queries.
        context: The TLS context, which verifies the certificate of the component.

    Raises:
        ProbeFailedError: The component is not reachable, or a status is not 200.
    """
    async with _connected(host, port, context) as stream:
        end_s = _certificate_end_s(stream)
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        try:
            bodies = [await _exchange(http, stream, target, name) for target in targets]
        except ProbeFailedError as error:
            error.certificate_end_s = end_s
            raise
        return Visit(tuple(bodies), end_s)


async def visit_postgresql(host: str, port: int, context: ssl.SSLContext) -> Visit:
    """Request encryption from PostgreSQL, and verify its certificate.

    The connection then ends without a login, of which PostgreSQL logs nothing.

    Args:
        host: The name or address of the server.
        port: The port of the server.
        context: The TLS context, which verifies the certificate of the server.

    Raises:
        ProbeFailedError: The server is not reachable, or does not offer TLS.
    """
    async with _connected(host, port, context, request_postgresql_tls) as stream:
        return Visit((), _certificate_end_s(stream))


async def request_postgresql_tls(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Request encryption from PostgreSQL. Raises ProbeFailedError if the server refuses it."""
    writer.write(_SSL_REQUEST)
    await writer.drain()
    if await reader.read(1) != _SSL_ACCEPTED:
        raise ProbeFailedError(ProbeFailure.TLS_FAILED, "the server does not offer TLS")


async def read_certificate_end_s(
    host: str, port: int, before_tls: BeforeTls | None = None
) -> float | None:
    """Return the expiry of a certificate that cannot be verified, as a Unix time in seconds.

    No data are sent over the encrypted connection, and no certificate of a client is presented.

    Args:
        host: The name or address of the component.
        port: The port of the component.
        before_tls: The exchange that the component expects before the TLS handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with _connected(host, port, context, before_tls) as stream:
            return _certificate_end_s(stream)
    except ProbeFailedError:
        return None


@asynccontextmanager
async def _connected(
    host: str, port: int, context: ssl.SSLContext, before_tls: BeforeTls | None = None
) -> AsyncIterator[TlsStream]:
    """Open a connection over TLS, and close it in any case, without waiting for the component."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=_HEAD_BYTES_MAX)
        if before_tls is not None:
            await before_tls(reader, writer)
        stream = TlsStream(reader, writer, context, host)
        await stream.handshake()
        yield stream
    except OSError as error:
        raise ProbeFailedError(_failure_of(error), str(error)) from error
    except h11.RemoteProtocolError as error:
        raise ProbeFailedError(ProbeFailure.UNEXPECTED_RESPONSE, str(error)) from error
    finally:
        if writer is not None:
            writer.transport.abort()


async def _exchange(http: h11.Connection, stream: TlsStream, target: str, name: str) -> bytes:
    """Send a request, and return the body of its response."""
    if http.our_state is h11.DONE:
        http.start_next_cycle()
    elif http.our_state is not h11.IDLE:
        raise ProbeFailedError(
            ProbeFailure.UNEXPECTED_RESPONSE, "the component ends the connection after a response"
        )
    headers = [("Host", name), ("Accept", "*/*"), ("User-Agent", "ffrtmp-exporter-health")]
    request = h11.Request(method="GET", target=target, headers=headers)
    await stream.send((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    body = bytearray()
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive())
        elif isinstance(event, h11.Response) and event.status_code != HTTPStatus.OK:
            raise ProbeFailedError(ProbeFailure.UNEXPECTED_STATUS, f"status {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
            _check_size(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise ProbeFailedError(ProbeFailure.UNEXPECTED_RESPONSE, "there is no response")
    return bytes(body)


def _check_size(body: bytes | bytearray) -> None:
    if len(body) > _BODY_BYTES_MAX:
        raise ProbeFailedError(
            ProbeFailure.UNEXPECTED_RESPONSE,
            f"the response is larger than {_BODY_BYTES_MAX} bytes",
        )


def _certificate_end_s(stream: TlsStream) -> float | None:
    encoded = stream.certificate
    if encoded is None:
        return None
    try:
        (dates,) = certificate_dates.certificates_validity(ssl.DER_cert_to_PEM_cert(encoded))
    except ValueError:
        return None
    return dates.end_s


def _failure_of(error: OSError) -> ProbeFailure:
    return next(
        (failure for kind, failure in _FAILURES if isinstance(error, kind)),
        ProbeFailure.CONNECTION_FAILED,
    )


# In this order: the first class of which the error is an instance.
_FAILURES: tuple[tuple[type[OSError], ProbeFailure], ...] = (
    (ssl.SSLCertVerificationError, ProbeFailure.CERTIFICATE_REJECTED),
    (ssl.SSLError, ProbeFailure.TLS_FAILED),
    (socket.gaierror, ProbeFailure.NAME_NOT_RESOLVED),
    (ConnectionRefusedError, ProbeFailure.CONNECTION_REFUSED),
)
