"""A limit of the memory for request bodies that are received at the same time."""

from http import HTTPStatus
from typing import Any

from litestar.types import ASGIApp, Receive, Send

from ffrtmp_master.api import problems
from ffrtmp_master.server.fast_path import send_problem
from ffrtmp_master.server.request_bounds import MAX_BODY_BYTES

# Smaller bodies are not counted. The number of connections limits them.
_SMALL_BYTES = 64 * 1024
_RETRY_AFTER_S = 5


class BodyBudget:
    """The memory that is left for bodies which are held in memory until they are complete."""

    def __init__(self, max_bytes: int) -> None:
        """Create a budget of `max_bytes`, which must suffice for the largest body."""
        self.max_bytes = max(max_bytes, MAX_BODY_BYTES)
        self.used_bytes = 0


def with_body_budget(app: ASGIApp, budget: BodyBudget) -> ASGIApp:
    """Return an application that refuses a request if its body would exceed the budget.

    A request without a valid token is refused before its body is read, so it uses the budget only
    for a moment. Uploads (PUT) are not held in memory.
    """

    async def bounded(scope: Any, receive: Receive, send: Send) -> None:
        size_bytes = _size_bytes(scope)
        if size_bytes <= _SMALL_BYTES:
            await app(scope, receive, send)
            return
        if budget.used_bytes + size_bytes > budget.max_bytes:
            problem = problems.make_problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"too many large bodies are being received; bodies_max_bytes is {budget.max_bytes}",
                headers={"Retry-After": str(_RETRY_AFTER_S)},
            )
            await send_problem(send, problem)
            return
        budget.used_bytes += size_bytes
        try:
            await app(scope, receive, send)
        finally:
            budget.used_bytes -= size_bytes

    return bounded


def _size_bytes(scope: Any) -> int:
    """Return the announced size of a body, or the maximum if it is not announced."""
    if scope["type"] != "http" or scope["method"] == "PUT":
        return 0
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
        if name == b"transfer-encoding":
            return MAX_BODY_BYTES
    return 0
