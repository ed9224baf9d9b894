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

_HEADER = b"x-request-id"
# What a caller may choose: nothing that a log, a header or a shell would trip over.
_SANE = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
_PREFIX_BYTES = 8


def around(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that its requests have ids: the caller's own, or a new one."""
    # Random for this process, then counted: an id need not be a secret, only the only one.
    prefix = secrets.token_hex(_PREFIX_BYTES).encode()
    numbers = itertools.count()

    async def identified(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request_id = _given(scope["headers"]) or b"%s%016x" % (prefix, next(numbers))
        # A server runs each request in a context of its own: nothing need be taken back.
        logs.begin(request_id=request_id.decode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_HEADER, request_id)]
                if _log.isEnabledFor(logging.DEBUG):
                    _log_answer(scope, message["status"])
            await send(message)

        await app(scope, receive, send_with_id)

    return identified


def naming(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that log lines name the job, run or node of the request's path.

    A Litestar middleware: the path must have been matched.
    """

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        parameters = scope.get("path_params", {})
        logs.note(**{name: parameters[name] for name in ("job_id", "run_id") if name in parameters})
        if str(scope.get("path_template", "")).startswith("/v1/nodes/{"):
            logs.note(node=parameters.get("name"))
        await app(scope, receive, send)

    return named


def _given(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == _HEADER:
            return value if _SANE.fullmatch(value) else None
    return None


def _log_answer(scope: Scope, status: int) -> None:
    _log.debug(
        "a request was answered",
        extra={"method": scope.get("method"), "path": scope.get("path"), "status": status},
    )
