"""Every request has an id: in its answer, and in each line that is logged while it is served."""

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
"""Where a request and its answer have the id."""

# What a caller may choose: nothing that a log, a header or a shell would trip over.
_SANE = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
_PREFIX_BYTES = 8


class RequestIds:
    """Ids of requests: the caller's own, or a new one."""

    def __init__(self) -> None:
        """Begin to count."""
        # Random for this process, then counted: an id need not be a secret, only the only one.
        self._prefix = secrets.token_hex(_PREFIX_BYTES).encode()
        self._numbers = itertools.count()

    def assign(self, given: bytes | None) -> bytes:
        """Return the id of a request whose caller gave this one, for the log as well."""
        if given is None or not _SANE.fullmatch(given):
            given = b"%s%016x" % (self._prefix, next(self._numbers))
        # A server runs each request in a context of its own: nothing need be taken back.
        logs.begin_context(request_id=given.decode())
        return given


def with_request_ids(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that its requests have ids."""
    ids = RequestIds()

    async def identified(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request_id = ids.assign(_given(scope["headers"]))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER, request_id)]
                log_answer(scope["method"], scope["path"], message["status"])
            await send(message)

        await app(scope, receive, send_with_id)

    return identified


def set_request_id(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that log lines name the job, run or node of the request's path.

    A Litestar middleware: the path must have been matched.
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


def _given(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == HEADER:
            return value
    return None


def log_answer(method: str, path: str, status: int) -> None:
    """Write a line for a request, if somebody wants so many."""
    if _log.isEnabledFor(logging.DEBUG):
        extra = {"method": method, "path": path, "status": status}
        _log.debug("a request was answered", extra=extra)
