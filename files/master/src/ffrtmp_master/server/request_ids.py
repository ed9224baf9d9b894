"""Request ids, which are included in each response and in the log lines of its request."""

import itertools
import logging
import re
import secrets
from collections.abc import Iterable
from typing import Any

from ffrtmp_shared import logs
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

HEADER = b"x-request-id"
"""The header of requests and responses that contains the id."""

# Clients may choose ids that consist of characters that are safe in logs, headers and shells.
_ALLOWED = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
_PREFIX_BYTES = 8


class RequestIds:
    """Assigns each request the id that its client sent, or a new id."""

    def __init__(self) -> None:
        """Choose a random prefix for the ids of this process."""
        # Ids must be unique, but need not be unpredictable. A random prefix and a counter suffice.
        self._prefix = secrets.token_hex(_PREFIX_BYTES).encode()
        self._numbers = itertools.count()

    def assign(self, requested: bytes | None) -> bytes:
        """Return the id of a request and add it to the logging context.

        `requested` is the id that the client sent, if any.
        """
        request_id = requested
        if request_id is None or not _ALLOWED.fullmatch(request_id):
            request_id = b"%s%016x" % (self._prefix, next(self._numbers))
        # The server runs each request in a separate context, which need not be reset.
        logs.begin_context(request_id=request_id.decode())
        return request_id


def with_request_ids(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that each request has an id."""
    ids = RequestIds()

    async def identified(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request_id = ids.assign(_requested_id(scope["headers"]))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER, request_id)]
                log_answer(scope["method"], scope["path"], message["status"])
            await send(message)

        await app(scope, receive, send_with_id)

    return identified


def set_request_id(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that log lines include the job, run or node in the request path.

    This is a Litestar middleware, because the path parameters are known only after routing.
    """

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        parameters = scope.get("path_params", {})
        logs.add_context(
            **{name: parameters[name] for name in ("job_id", "run_id") if name in parameters}
        )
        if str(scope.get("path_template", "")).startswith("/v1/nodes/{"):
            logs.add_context(node=parameters.get("name"))
        await app(scope, receive, send)

    return named


def _requested_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == HEADER:
            return value
    return None


def log_answer(method: str, path: str, status: int) -> None:
    """Log a response at level debug."""
    if _log.isEnabledFor(logging.DEBUG):
        extra = {"method": method, "path": path, "status": status}
        _log.debug("a request was answered", extra=extra)
