"""Hot calls answered right from their connection.

The server makes some ten objects of each request, which ASGI wants and a hot call does not; without
them an answer takes a fifth less time. Only what is plain goes this way: a path as it is written,
a body of known length that is not large, on a kept connection whose client reads its answers and
waits for each. The server does all the rest, with the same answers.
"""

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ffrtmp_master.server import fast_path, request_ids
from ffrtmp_master.server.request_ids import RequestIds
from ffrtmp_master.server.write_coalescing import CoalescingProtocol
from ffrtmp_master.services import Services

# A larger body is read by the server, which holds the sender back.
_MAX_BODY_BYTES = 64 * 1024
_PLAIN_PATH = re.compile(rb"[A-Za-z0-9/_-]+")
_LENGTH, _EXPECT = b"content-length", b"expect"


class _Exchange:
    """A hot call that is being answered; stands where the server keeps its record of a request."""

    __slots__ = ("disconnected", "gone", "keep_alive", "response_complete")

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False
        self.gone: asyncio.Future[None] | None = None

    @property
    def message_event(self) -> "_Exchange":
        """What the server sets when the client has hung up."""
        return self

    def set(self) -> None:
        if self.gone is not None and not self.gone.done():
            self.gone.set_result(None)

    async def hung_up(self) -> None:
        """Return when the client has hung up."""
        if not self.disconnected:
            self.gone = asyncio.get_running_loop().create_future()
            await self.gone


class FastPathProtocol(CoalescingProtocol):
    """A connection whose hot calls do not pass through ASGI."""

    def __init__(self, services: Services, ids: RequestIds, **server: Any) -> None:
        """Answer for `farm`; `server` is what the server gives to each of its connections."""
        super().__init__(**server)
        self._services = services
        self._ids = ids
        # The hot call whose body is being read, and what came of it.
        self._found: fast_path.Match | None = None
        self._given: dict[bytes, bytes] = {}
        self._content = b""

    # --- called by the parser ---

    def on_message_begin(self) -> None:
        """Begin a request; what ASGI wants to know of it is made when it is wanted."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._content = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Choose the way of a request."""
        self._given = dict(self.headers)
        self._found = self._answer_directly()
        if self._found is not None:
            exchange: Any = _Exchange()
            self.cycle = exchange
        else:
            url, headers = self.url, self.headers
            super().on_message_begin()
            self.url = url
            for name, value in headers:
                super().on_header(name, value)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._found is None:
            super().on_body(body)
        else:
            self._content += body

    def on_message_complete(self) -> None:
        """Answer, or let the server go on."""
        found, self._found = self._found, None
        if found is None:
            super().on_message_complete()
            return
        exchange: Any = self.cycle
        asked = fast_path.RawRequest(
            self.url.decode(),
            self._given,
            self.client,
            self._content,
            exchange.hung_up,
            lambda: exchange.disconnected,
        )
        # An idle connection keeps nothing of it.
        self._given, self._content = {}, b""
        task = self.loop.create_task(self._answer(found, asked, exchange))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # --- how ---

    def _answer_directly(self) -> fast_path.Match | None:
        """Return the hot call that is to be answered here; None when the server is to do it."""
        url, parser = self.url, self.parser
        found = fast_path.match_endpoint(url.decode()) if _PLAIN_PATH.fullmatch(url) else None
        if found is None or parser.get_method() != b"POST":
            return None
        length = self._given.get(_LENGTH, b"")
        is_small = length.isdigit() and int(length) <= _MAX_BODY_BYTES
        is_kept = parser.get_http_version() == "1.1" and parser.should_keep_alive()
        is_busy = self.cycle is not None and not self.cycle.response_complete
        is_waiting = not is_busy and not self.flow.write_paused
        is_plain = is_small and is_kept and is_waiting and _EXPECT not in self._given
        return found if is_plain else None

    async def _answer(
        self, found: fast_path.Match, asked: fast_path.RawRequest, exchange: _Exchange
    ) -> None:
        request_id = self._ids.assign(asked.headers.get(request_ids.HEADER))
        try:
            replied = await fast_path.respond(self._services, found, asked)
            request_ids.log_answer("POST", asked.path, replied.status)
            if not exchange.disconnected:
                self._send(replied, request_id, exchange)
        finally:
            if not exchange.response_complete and not exchange.disconnected:
                self.transport.close()

    def _send(self, replied: fast_path.RawResponse, request_id: bytes, exchange: _Exchange) -> None:
        headers = [*self.server_state.default_headers, *replied.headers]
        headers.append((request_ids.HEADER, request_id))
        if not exchange.keep_alive:
            headers.append((b"connection", b"close"))
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        status = STATUS_LINE[replied.status]
        self.joining.write_now(b"%b%b\r\n%b" % (status, lines, replied.body))
        exchange.response_complete = True
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()
