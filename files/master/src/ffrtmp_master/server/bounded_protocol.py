"""An HTTP connection with limits for everything that a client can send before it is authenticated.

Uvicorn's protocol neither limits heads nor ends silent connections, and it notifies only the newest
request of a connection when the client disconnects. The limits are designed so that a request that
observes them costs nearly nothing: sizes are compared once per head, and deadlines are checked once
per second for all connections (see `enforce_deadlines`) instead of with timers.
"""

from collections.abc import Callable
from enum import IntEnum
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ffrtmp_master.api import problems
from ffrtmp_master.api.problems import ProblemResponse
from ffrtmp_master.server.request_bounds import (
    PIPELINED_BODY_MAX_BYTES,
    PIPELINED_MAX,
    RequestBounds,
)
from ffrtmp_master.server.write_coalescing import CoalescingProtocol


class Phase(IntEnum):
    """The part of a request that is being received. `BETWEEN` is false."""

    BETWEEN = 0
    HEAD = 1
    BODY = 2


# The client needs some time to read the response before it is disconnected.
_CHECKS_AFTER_REFUSAL = 2

BETWEEN, HEAD, BODY = Phase.BETWEEN, Phase.HEAD, Phase.BODY


class _RefusalError(Exception):
    """Ends the parsing of a request that has been refused."""


class BoundedProtocol(CoalescingProtocol):
    """Uvicorn's HTTP protocol with limits. Subclasses may answer requests without ASGI."""

    def __init__(
        self,
        bounds: RequestBounds,
        count_refusal: Callable[[str], None],
        release: Callable[[], None],
        **server: Any,
    ) -> None:
        """Create the protocol of a connection.

        Args:
            bounds: The limits of each request.
            count_refusal: A function that counts a refused request by its reason.
            release: A function that is called when the connection has ended.
            **server: The arguments that the server passes to each connection.
        """
        super().__init__(**server)
        self._bounds = bounds
        self._count_refusal = count_refusal
        self._release = release
        # The request that is being answered; `cycle` is the newest request of the connection.
        self._answering: Any = None
        self._refusal: ProblemResponse | None = None
        self._phase = BETWEEN
        self._requests = 0
        self._chunk_bytes = 0
        self._head_bytes = 0
        # Body bytes received in the present window, and bytes since the last part of a body.
        self._window_bytes = 0
        self._overhead_bytes = 0
        self._is_body_received = False
        # What `enforce_deadlines` saw last, and since when it has not changed.
        self._seen: tuple[int, Phase, bool] = (-1, BETWEEN, False)
        self._since_s = 0.0
        self._stalled_since_s: float | None = None
        # The number of further checks after which a refused client is disconnected.
        self._checks_left: int | None = None

    # --- called by the event loop ---

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify all unanswered requests that the client has disconnected."""
        for cycle in (self._answering, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)
        self._release()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and refuse requests that exceed a limit or are not valid."""
        self._chunk_bytes = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._end_with(self._refusal or _invalid())
            return
        if self._phase:
            self._check_unfinished()

    def resume_writing(self) -> None:
        """Continue to send; the client has read a part of its response."""
        self._stalled_since_s = None
        super().resume_writing()

    # --- called by the parser ---

    def on_headers_complete(self) -> None:
        """Pass a request to the application, after its head has been checked."""
        is_queued = self.cycle is not None and not self.cycle.response_complete
        if is_queued and len(self.pipeline) >= PIPELINED_MAX:
            self._refuse(
                HTTPStatus.BAD_REQUEST,
                f"more than {PIPELINED_MAX} requests were sent before they were answered",
                "pipelined",
            )
        self._check_content_length()
        super().on_headers_complete()
        self._phase = BODY
        # The application has the list of headers. Trailers must not change it.
        self.headers = []
        if is_queued:
            # Only a connection that is read reports that the client has disconnected. The
            # response that is being sent may wait for minutes, so this must be noticed.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        self._is_body_received = True
        super().on_body(body)
        cycle = self.cycle
        if cycle is not self._answering and len(cycle.body) > PIPELINED_BODY_MAX_BYTES:
            self._refuse(
                HTTPStatus.BAD_REQUEST,
                f"a request with a body of more than {PIPELINED_BODY_MAX_BYTES} bytes was sent "
                "before the previous request was answered",
                "pipelined",
            )

    def on_message_complete(self) -> None:
        """End a request."""
        self._phase = BETWEEN
        super().on_message_complete()

    # --- called by the server ---

    def on_response_complete(self) -> None:
        """Start the next request of the connection, if the client has already sent it.

        Uvicorn starts a timer after each response, which `enforce_deadlines` makes unnecessary.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def enforce_deadlines(self, now_s: float) -> None:
        """End the connection if its client is too slow. Called about once per second.

        A deadline begins when this method first sees the state that it limits. `now_s` is the
        monotonic time in seconds.
        """
        if self.transport.is_closing():
            self._end_refused()
            return
        is_answering = self._is_answering()
        seen = (self._requests, self._phase, is_answering)
        if seen != self._seen:
            self._seen, self._since_s, self._window_bytes = seen, now_s, 0
        waited_s = now_s - self._since_s
        if self.flow.write_paused:
            self._end_if_stalled(now_s)
        elif self._phase == HEAD:
            self._end_late_head(waited_s)
        elif self._phase == BODY:
            self._end_slow_body(now_s, waited_s, is_answering=is_answering)
        elif not is_answering:
            bounds = self._bounds
            limit_s = bounds.idle_timeout_s if self._requests else bounds.head_timeout_s
            if waited_s >= limit_s:
                self._count_refusal("idle")
                self.transport.close()

    # --- internals ---

    def _begin_head(self) -> None:
        """Begin a request. Called by subclasses, for each request."""
        self._phase = HEAD
        self._requests += 1
        self._head_bytes = 0

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _check_head(self) -> None:
        """Refuse a request whose complete head exceeds a limit. Called for each request."""
        self._overhead_bytes = 0
        bounds = self._bounds
        if len(self.url) > bounds.request_line_max_bytes:
            self._refuse_request_line()
        if len(self.headers) > bounds.headers_max:
            self._refuse_headers()
        # The sizes are only added up if what was received can exceed the limit.
        if self._head_bytes + self._chunk_bytes > bounds.headers_max_bytes:
            size_bytes = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size_bytes > bounds.headers_max_bytes:
                self._refuse_headers()
        if self.parser.should_upgrade():
            # The parser would skip the body of such a request.
            self._refuse(
                HTTPStatus.BAD_REQUEST,
                "this server supports neither the header Upgrade nor the method CONNECT",
                "upgrade",
            )

    def _check_content_length(self) -> None:
        """Refuse a body that no endpoint accepts, before the request is authenticated."""
        is_upload = self.parser.get_method() == b"PUT"
        limit = self._bounds.upload_max_bytes if is_upload else self._bounds.body_max_bytes
        for name, value in self.headers:
            if name == b"content-length" and (not value.isdigit() or int(value) > limit):
                self._refuse(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the body has {value[:20].decode('latin-1')} bytes; at most {limit} are "
                    "allowed",
                    "body",
                )

    def _check_unfinished(self) -> None:
        """End the connection if a request that has not been received completely is too large."""
        bounds, size_bytes = self._bounds, self._chunk_bytes
        try:
            if self._phase == HEAD:
                self._head_bytes += size_bytes
                if len(self.url) > bounds.request_line_max_bytes:
                    self._refuse_request_line()
                if (
                    self._head_bytes > bounds.headers_max_bytes
                    or len(self.headers) > bounds.headers_max
                ):
                    self._refuse_headers()
                return
            self._window_bytes += size_bytes
            self._overhead_bytes = (
                0 if self._is_body_received else self._overhead_bytes + size_bytes
            )
            self._is_body_received = False
            # Trailers and extensions of chunks are not part of the body.
            if (
                self._overhead_bytes > bounds.headers_max_bytes
                or len(self.headers) > bounds.headers_max
            ):
                self._refuse_headers()
        except _RefusalError:
            self._end_with(self._refusal or _invalid())

    def _refuse_request_line(self) -> None:
        limit = self._bounds.request_line_max_bytes
        self._refuse(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            f"the request line is too long; request_line_max_bytes is {limit}",
            "request_line",
        )

    def _refuse_headers(self) -> None:
        bounds = self._bounds
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"there are too many headers, or they are too large; headers_max is "
            f"{bounds.headers_max} and headers_max_bytes is {bounds.headers_max_bytes}",
            "headers",
        )

    def _refuse(self, status: HTTPStatus, detail: str, reason: str) -> None:
        """Stop the parser. The response is sent by the function that called the parser."""
        self._count_refusal(reason)
        self._refusal = problems.make_problem(status, detail)
        raise _RefusalError

    def _end_with(self, problem: ProblemResponse) -> None:
        """Send a response to the request that is being received, and close the connection."""
        if self.transport.is_closing():
            return
        if self._may_respond():
            lines = [STATUS_LINE[problem.status]]
            headers = [
                *self.server_state.default_headers,
                (b"content-type", problems.MEDIA_TYPE.encode()),
                (b"content-length", b"%d" % len(problem.body)),
                (b"connection", b"close"),
            ]
            lines += [b"%b: %b\r\n" % header for header in headers]
            self.transport.write(b"".join([*lines, b"\r\n", problem.body]))
        self._phase, self.headers = BETWEEN, []
        self._checks_left = _CHECKS_AFTER_REFUSAL
        if self._is_answering():
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.transport.close()

    def _end_refused(self) -> None:
        """Disconnect a client that continues to send after its request was refused."""
        if self._checks_left is not None:
            self._checks_left -= 1
            if self._checks_left < 0:
                self.transport.abort()

    def _may_respond(self) -> bool:
        """Return whether the next response is that of the request that is being received."""
        if not self._is_answering():
            return True
        is_newest = self._phase == BODY and self.cycle is self._answering
        return is_newest and not getattr(self._answering, "response_started", False)

    def _end_late_head(self, waited_s: float) -> None:
        limit_s = self._bounds.head_timeout_s
        if waited_s >= limit_s:
            self._count_refusal("head_timeout")
            detail = f"the head was not complete after head_timeout_s, which is {limit_s:g} s"
            self._end_with(problems.make_problem(HTTPStatus.REQUEST_TIMEOUT, detail))

    def _end_slow_body(self, now_s: float, waited_s: float, *, is_answering: bool) -> None:
        if not is_answering:
            # The client sends a body that is not read any more.
            if waited_s >= self._bounds.unread_body_s:
                self._count_refusal("unread_body")
                self.transport.close()
        elif self.flow.read_paused or getattr(self.cycle, "waiting_for_100_continue", False):
            # The client is not slow. The master does not read yet.
            self._since_s, self._window_bytes = now_s, 0
        elif waited_s >= self._bounds.body_window_s:
            if self._window_bytes < self._bounds.body_window_min_bytes:
                self._count_refusal("body_rate")
                rate = self._bounds.body_rate_min_bytes_per_s
                detail = f"the body was received too slowly; body_rate_min_bytes_per_s is {rate:g}"
                self._end_with(problems.make_problem(HTTPStatus.REQUEST_TIMEOUT, detail))
            self._since_s, self._window_bytes = now_s, 0

    def _end_if_stalled(self, now_s: float) -> None:
        if self._stalled_since_s is None:
            self._stalled_since_s = now_s
        elif now_s - self._stalled_since_s >= self._bounds.stalled_response_s:
            self._count_refusal("response_stalled")
            self.transport.abort()


def _invalid() -> ProblemResponse:
    return problems.make_problem(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP")
