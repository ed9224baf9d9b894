"""OPTIONS and 405 responses for the paths of fast-path endpoints.

The framework serves the other methods of these paths. It does not know the fast-path endpoints, so
its own OPTIONS and 405 responses would not list POST.
"""

from http import HTTPStatus

from litestar import Litestar
from litestar.exceptions import MethodNotAllowedException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ffrtmp_master.api import agent_endpoints, problems
from ffrtmp_master.server import fast_path


def with_allowed_methods(framework: Litestar) -> ASGIApp:
    """Wrap the framework so that OPTIONS and 405 responses list all methods of a path.

    These are the methods of the framework and those of the fast-path endpoints.
    """
    methods = {endpoint.route: {"OPTIONS", "POST"} for endpoint in agent_endpoints.ENDPOINTS}
    for route in framework.routes:
        if route.path_format in methods:
            methods[route.path_format] |= set(route.methods)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found = fast_path.match_endpoint(scope["path"]) if str(scope["type"]) == "http" else None
        allowed = methods[found.endpoint.route] if found is not None else None
        method = str(scope.get("method"))
        if allowed is None or (method in allowed and method != "OPTIONS"):
            await framework(scope, receive, send)
            return
        allow = ", ".join(sorted(allowed))
        if method == "OPTIONS":
            start: Message = {
                "type": "http.response.start",
                "status": HTTPStatus.NO_CONTENT,
                "headers": [(b"allow", allow.encode())],
            }
            await send(start)
            end: Message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(end)
            return
        error = MethodNotAllowedException(
            f"this path does not support the method {method}", headers={"Allow": allow}
        )
        await fast_path.send_problem(send, problems.problem_of(error, method, scope["path"]))

    return app
