"""HTTPS server of metrics, which only clients with a certificate of the farm's CA can reach."""

import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs

from ffrtmp_shared import http_exchange
from ffrtmp_shared.connection_table import ConnectionBounds, ConnectionTable, OpenConnection
from ffrtmp_shared.http_exchange import HttpRequest, HttpResponse, HttpTimes
from ffrtmp_shared.loop_registry import LoopStatus
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.server_certificates import ServerCertificates

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_S = 0.25
_RETRY_PAUSE_MAX_S = 5.0
_BACKLOG = 128
_METHODS = ("GET", "HEAD")


class ExporterServer:
    """Serves a page of metrics in threads of its own.

    Each connection has a thread, in which also its TLS handshake takes place. Therefore no client
    can delay the others. See `ConnectionTable` for the limits of connections and `HttpTimes` for
    those of their durations.
    """

    def __init__(
        self,
        *,
        title: str,
        page: MetricPage,
        certificates: ServerCertificates,
        address: tuple[str, int],
        limits: ConnectionBounds,
        loop: LoopStatus,
        is_ready: Callable[[], bool] = lambda: True,
        times: HttpTimes | None = None,
    ) -> None:
        """Open the listening socket; connections wait until `start`.

        Args:
            title: The heading of the landing page.
            page: The metrics.
            certificates: The TLS context.
            address: The host and port to listen on.
            limits: The maximum numbers of connections.
            loop: The record of the loop that accepts connections and ends expired ones.
            is_ready: Returns whether the metrics are complete; until then, they are not served.
            times: The maximum durations of the phases of a connection.

        Raises:
            OSError: The port is in use, or the address does not belong to this host.
        """
        self._title = title
        self._page = page
        self._is_ready = is_ready
        self._certificates = certificates
        self._times = times or HttpTimes()
        self._table = ConnectionTable(limits)
        self._listener = _Listener(address, self._admit)
        pacing = Pacing(interval_s=0.0, retry_pause_max_s=_RETRY_PAUSE_MAX_S)
        self._loop = ThreadLoop(loop, self._accept_next, pacing)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._listener.server_address[1])

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._table)

    def start(self) -> None:
        """Accept connections."""
        self._loop.start()

    def stop(self) -> None:
        """Close the listening socket and all connections, including those in use."""
        self._loop.stop()
        self._listener.server_close()
        self._table.close_all()

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    def _accept_next(self) -> AfterPass:
        """Wait a moment for a connection, and end those whose time is over."""
        self._listener.handle_request()
        self._table.close_expired()
        return AfterPass.REPEAT

    def _admit(self, connected: socket.socket, address: str) -> None:
        """Start the thread of a new connection, or close it if there are too many."""
        connection = self._table.admit(connected, address, self._times.handshake_s)
        if connection is None:
            connected.close()
            return
        try:
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except RuntimeError as error:
            # The limit of the service's threads is reached.
            _log.warning("a connection was refused: %s", error)
            self._table.remove(connection)
            connected.close()

    def _serve(self, connection: OpenConnection) -> None:
        try:
            self._converse(connection)
        except OSError as error:
            # The client failed the handshake, closed the connection, or was too slow.
            _log.debug("a connection from %s ended: %s", connection.address, error)
        finally:
            self._table.remove(connection)
            connection.socket.close()

    def _converse(self, connection: OpenConnection) -> None:
        connection.socket = encrypted = self._certificates.context().wrap_socket(
            connection.socket, server_side=True, do_handshake_on_connect=False
        )
        if not self._table.is_open(connection):
            return
        encrypted.do_handshake()
        connection.trusted = True
        self._table.extend(connection, self._times.head_s)
        http_exchange.serve_requests(
            encrypted,
            self._respond,
            self._times,
            lambda duration_s: self._table.extend(connection, duration_s),
        )

    def _respond(self, request: HttpRequest) -> HttpResponse:
        respond = {
            "/": self._landing_page,
            "/metrics": self._metrics,
            "/-/healthy": _healthy,
            "/-/ready": self._readiness,
        }.get(request.path)
        if respond is None:
            return HttpResponse(HTTPStatus.NOT_FOUND, b"Not found. The metrics are at /metrics.\n")
        if request.method not in _METHODS:
            return HttpResponse(
                HTTPStatus.METHOD_NOT_ALLOWED,
                b"Only GET and HEAD are allowed.\n",
                headers=(("Allow", ", ".join(_METHODS)),),
            )
        return respond(request)

    def _metrics(self, request: HttpRequest) -> HttpResponse:
        if not self._is_ready():
            return _NOT_READY
        # As in node_exporter, the parameter selects collectors, so that a client that needs few
        # metrics does not cause the cost of all.
        names = frozenset(parse_qs(request.query).get("collect[]", ()))
        body, content_type = self._page.render(request.headers.get("accept", ""), names)
        return HttpResponse(HTTPStatus.OK, body, content_type)

    def _readiness(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse(HTTPStatus.OK, b"ready\n") if self._is_ready() else _NOT_READY

    def _landing_page(self, _: HttpRequest) -> HttpResponse:
        title = escape(self._title)
        page = (
            f'<!DOCTYPE html>\n<html lang="en"><head><title>{title}</title></head><body>\n'
            f'<h1>{title}</h1>\n<p><a href="/metrics">Metrics</a></p>\n</body></html>\n'
        )
        return HttpResponse(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8")


class _Listener(socketserver.TCPServer):
    """The listening socket."""

    allow_reuse_address = True
    request_queue_size = _BACKLOG
    timeout = _CHECK_INTERVAL_S

    def __init__(
        self, address: tuple[str, int], admit: Callable[[socket.socket, str], None]
    ) -> None:
        family, _, _, _, resolved = socket.getaddrinfo(
            *address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self.address_family = family
        self._admit = admit
        super().__init__(resolved[:2], socketserver.BaseRequestHandler)  # type: ignore[arg-type]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._admit(request, client_address[0])

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        _log.exception("a connection from %s could not be admitted", client_address[0])


def _healthy(_: HttpRequest) -> HttpResponse:
    return HttpResponse(HTTPStatus.OK, b"healthy\n")


_NOT_READY = HttpResponse(
    HTTPStatus.SERVICE_UNAVAILABLE,
    b"The first complete read of the source has not ended yet.\n",
    headers=(("Retry-After", "5"),),
)
