"""The connection protocol that serves fast-path endpoints directly from the HTTP parser.

For each request, Uvicorn creates about ten objects that ASGI needs but the fast path does not.
Without these objects, a response takes a fifth less time. Only simple requests are served this way:
the path contains no escapes, the body is small and its length is known, the connection is
persistent and not pipelined, and the client reads its responses. Uvicorn, called the server in this
module, handles all other requests; the responses are the same.
"""

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ffrtmp_master.server import fast_path, request_ids
from ffrtmp_master.server.bounded_protocol import BETWEEN, BODY, BoundedProtocol
from ffrtmp_master.server.request_ids import RequestIds
from ffrtmp_master.services import Services

# Larger bodies are left to the server, because it applies flow control.
_MAX_DIRECT_BODY_BYTES = 64 * 1024
_PLAIN_PATH = re.compile(rb"[A-Za-z0-9/_-]+")
_LENGTH, _EXPECT = b"content-length", b"expect"


class _Exchange:
    """State of a request on the fast path, used instead of the server's per-request state."""

    __slots__ = ("disconnected", "gone", "keep_alive", "response_complete")

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False
        self.gone: asyncio.Future[None] | None = None

    @property
    def message_event(self) -> "_Exchange":
        """The object whose method `set` the server calls when the client has disconnected."""
        return self

    def set(self) -> None:
        if self.gone is not None and not self.gone.done():
            self.gone.set_result(None)

    async def hung_up(self) -> None:
        """Return when the client has disconnected."""
        if not self.disconnected:
            self.gone = asyncio.get_running_loop().create_future()
            await self.gone


class FastPathProtocol(BoundedProtocol):
    """A connection whose fast-path requests do not pass through ASGI."""

    def __init__(self, services: Services, ids: RequestIds, **server: Any) -> None:
        """Create the protocol of a connection.

        Args:
            services: The services of the master.
            ids: Assigns the request ids.
            **server: The arguments of `BoundedProtocol`.
        """
        super().__init__(**server)
        self._services = services
        self._ids = ids
        # The fast-path request whose body is being read.
        self._match: fast_path.Match | None = None
        self._request_headers: dict[bytes, bytes] = {}
        self._content = b""

    # --- called by the parser ---

    def on_message_begin(self) -> None:
        """Begin a request. The state for ASGI is created later, if the server needs it."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._content = b""
        self._begin_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Decide whether the fast path or the server handles the request."""
        self._check_head()
        self._request_headers = dict(self.headers)
        self._match = self._match_fast_path()
        if self._match is not None:
            exchange: Any = _Exchange()
            self.cycle = self._answering = exchange
            self._phase = BODY
        else:
            url, headers = self.url, self.headers
            super().on_message_begin()
            self.url = url
            for name, value in headers:
                super().on_header(name, value)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        if self._match is None:
            super().on_body(body)
        else:
            self._is_body_received = True
            self._content += body

    def on_message_complete(self) -> None:
        """Serve the request if it is on the fast path; otherwise let the server continue."""
        match, self._match = self._match, None
        if match is None:
            super().on_message_complete()
            return
        self._phase = BETWEEN
        exchange: Any = self.cycle
        request = fast_path.RawRequest(
            self.url.decode(),
            self._request_headers,
            self.client,
            self._content,
            exchange.hung_up,
            lambda: exchange.disconnected,
        )
        # An idle connection must not keep the data of past requests in memory.
        self._request_headers, self._content = {}, b""
        task = self.loop.create_task(self._answer(match, request, exchange))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # --- internals ---

    def _match_fast_path(self) -> fast_path.Match | None:
        """Return the matching endpoint, or None if the server must handle the request."""
        url, parser = self.url, self.parser
        match = fast_path.match_endpoint(url.decode()) if _PLAIN_PATH.fullmatch(url) else None
        if match is None or parser.get_method() != b"POST":
            return None
        length = self._request_headers.get(_LENGTH, b"")
        is_small = length.isdigit() and int(length) <= _MAX_DIRECT_BODY_BYTES
        is_kept = parser.get_http_version() == "1.1" and parser.should_keep_alive()
        is_busy = self.cycle is not None and not self.cycle.response_complete
        is_waiting = not is_busy and not self.flow.write_paused
        is_simple = is_small and is_kept and is_waiting and _EXPECT not in self._request_headers
        return match if is_simple else None

    async def _answer(
        self, match: fast_path.Match, request: fast_path.RawRequest, exchange: _Exchange
    ) -> None:
        request_id = self._ids.assign(request.headers.get(request_ids.HEADER))
        try:
            response = await fast_path.respond(self._services, match, request)
            request_ids.log_answer("POST", request.path, response.status)
            if not exchange.disconnected:
                self._send(response, request_id, exchange)
        finally:
            if not exchange.response_complete and not exchange.disconnected:
                self.transport.close()

    def _send(
        self, response: fast_path.RawResponse, request_id: bytes, exchange: _Exchange
    ) -> None:
        headers = [*self.server_state.default_headers, *response.headers]
        headers.append((request_ids.HEADER, request_id))
        if not exchange.keep_alive:
            headers.append((b"connection", b"close"))
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        status = STATUS_LINE[response.status]
        self._coalescing.write_now(b"%b%b\r\n%b" % (status, lines, response.body))
        exchange.response_complete = True
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()
