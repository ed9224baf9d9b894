"""Requests and responses of one HTTP connection; every part of a request is bounded."""

import gzip
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

import h11

_log = logging.getLogger(__name__)

HEAD_MAX_BYTES = 16 * 1024
"""Maximum size of a request line with its headers."""

HANDSHAKE_MAX_S = 5.0
HEAD_MAX_S = 5.0
IDLE_MAX_S = 90.0
ANSWER_MAX_S = 30.0

_RECEIVED_BYTES_MAX = 4096
_GZIP_BYTES_MIN = 1024
# The lowest level compresses a page of metrics almost as much as the highest, in less time.
_GZIP_LEVEL = 1


@dataclass(frozen=True)
class HttpTimes:
    """Maximum durations of the phases of a connection, in seconds.

    Attributes:
        handshake_s: From the connection to the end of the TLS handshake.
        head_s: From the first byte of a request to the end of its headers.
        idle_s: Between two requests. It is longer than usual scrape intervals, because keeping a
            connection costs less than another handshake.
        answer_s: From the end of a request to the end of its response.
    """

    handshake_s: float = HANDSHAKE_MAX_S
    head_s: float = HEAD_MAX_S
    idle_s: float = IDLE_MAX_S
    answer_s: float = ANSWER_MAX_S


@dataclass(frozen=True)
class HttpRequest:
    """A request without its body, which is never accepted. The names of headers are lowercase.

    `query` is the part of the target after the path, without the question mark.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: str = ""

    def accepts_gzip(self) -> bool:
        """Return whether the client accepts a compressed response."""
        for item in self.headers.get("accept-encoding", "").lower().split(","):
            coding, _, quality = item.replace(" ", "").partition(";q=")
            if coding == "gzip":
                return quality.strip("0.") != "" or quality == ""
        return False


@dataclass(frozen=True)
class HttpResponse:
    """A response. `headers` are those in addition to the content's type and length."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = field(default=())


Respond = Callable[[HttpRequest], HttpResponse]


def serve_requests(
    connection: socket.socket, respond: Respond, times: HttpTimes, extend: Callable[[float], None]
) -> None:
    """Answer the requests of a connection until either side closes it.

    A request that is not valid, too large or has a body is answered with an error, and the
    connection ends.

    Args:
        connection: The connection, whose methods may wait without a time limit.
        respond: Returns the response to a request.
        times: The maximum durations.
        extend: Called with the seconds for the next phase. The caller closes the connection if
            they pass without another call.

    Raises:
        OSError: The connection was closed.
    """
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
    while http.our_state is h11.IDLE:
        try:
            request = _receive(connection, http, times, extend)
            if request is None:
                return
            extend(times.answer_s)
            has_body = type(http.next_event()) is not h11.EndOfMessage
            response = _NO_BODY if has_body else _response(respond, request)
        except h11.RemoteProtocolError as error:
            extend(times.answer_s)
            has_body, request = True, None
            response = _error(HTTPStatus(error.error_status_hint))
        _send(connection, http, request, response, is_last=has_body)
        if _is_reusable(http):
            http.start_next_cycle()
            extend(times.idle_s)


def _is_reusable(http: h11.Connection) -> bool:
    return http.our_state is h11.DONE and http.their_state is h11.DONE


def _receive(
    connection: socket.socket,
    http: h11.Connection,
    times: HttpTimes,
    extend: Callable[[float], None],
) -> HttpRequest | None:
    """Return the next request, or None if the client has closed the connection."""
    is_begun = False
    while (event := http.next_event()) is h11.NEED_DATA:
        received = connection.recv(_RECEIVED_BYTES_MAX)
        if received and not is_begun:
            is_begun = True
            extend(times.head_s)
        http.receive_data(received)
    if not isinstance(event, h11.Request):
        return None
    path, _, query = event.target.decode("ascii").partition("?")
    return HttpRequest(
        method=event.method.decode("ascii"),
        path=path,
        query=query,
        headers={name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
    )


def _send(
    connection: socket.socket,
    http: h11.Connection,
    request: HttpRequest | None,
    response: HttpResponse,
    *,
    is_last: bool,
) -> None:
    """Send a response in one piece, so that it needs as few TLS records as possible."""
    body, headers = response.body, list(response.headers)
    if request is not None and len(body) >= _GZIP_BYTES_MIN:
        headers.append(("Vary", "Accept, Accept-Encoding"))
        if request.accepts_gzip():
            body = gzip.compress(body, _GZIP_LEVEL)
            headers.append(("Content-Encoding", "gzip"))
    headers += [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(body))),
        ("Date", formatdate(usegmt=True)),
    ]
    if is_last:
        headers.append(("Connection", "close"))
    head = http.send(
        h11.Response(
            status_code=response.status, reason=response.status.phrase.encode(), headers=headers
        )
    )
    if request is not None and request.method == "HEAD":
        body = b""
    rest = (http.send(h11.Data(body)) or b"") if body else b""
    end = http.send(h11.EndOfMessage()) or b""
    connection.sendall((head or b"") + rest + end)


def _response(respond: Respond, request: HttpRequest) -> HttpResponse:
    try:
        return respond(request)
    except Exception:
        # The client must get an answer, whatever defect prevents the intended one.
        _log.exception("%s %s failed", request.method, request.path)
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR)


def _error(status: HTTPStatus) -> HttpResponse:
    return HttpResponse(status, f"{status.phrase}\n".encode())


_NO_BODY = HttpResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"A request must not have a body.\n")
