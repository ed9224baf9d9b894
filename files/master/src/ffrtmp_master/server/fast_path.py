"""Handling of requests to fast-path endpoints, from the received request to the response.

Most of these requests are passed in directly by the protocol of their connection (see
`fast_path_protocol`). The others arrive through ASGI, as do the requests to all other endpoints,
which are passed on to the framework.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from ffrtmp_shared import logs, value_rules
from litestar.exceptions import ClientException, NotFoundException
from litestar.types import ASGIApp, Message, Receive, Send

from ffrtmp_master.api import field_errors, problems
from ffrtmp_master.api.agent_endpoints import ENDPOINTS, AgentCall, AgentResponse, Endpoint
from ffrtmp_master.api.request_validation import MAX_AGENT_BODY_BYTES, check_json
from ffrtmp_master.auth.authorization import check_role
from ffrtmp_master.services import Services
from ffrtmp_master.store.errors import TooLargeError

B = TypeVar("B")

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", problems.MEDIA_TYPE.encode())

_BY_PATH = {endpoint.route: endpoint for endpoint in ENDPOINTS if "{" not in endpoint.route}
_BY_ACTION = {
    endpoint.route.rpartition("/")[2]: endpoint for endpoint in ENDPOINTS if "{" in endpoint.route
}
_DECODERS = {endpoint.route: msgspec.json.Decoder(endpoint.body) for endpoint in ENDPOINTS}
_JOBS = "/v1/jobs/"
_NO_JOB = UUID(int=0)

_encode = msgspec.json.Encoder().encode


class Match(NamedTuple):
    """The fast-path endpoint that matches a path, and the part of the path that is the job id.

    `job_part` is empty if the path of the endpoint contains no job id.
    """

    endpoint: Endpoint[Any]
    job_part: str


def match_endpoint(path: str) -> Match | None:
    """Return the fast-path endpoint that matches a path, or None if there is none."""
    endpoint = _BY_PATH.get(path)
    if endpoint is not None:
        return Match(endpoint, "")
    if not path.startswith(_JOBS):
        return None
    job, _, action = path[len(_JOBS) :].partition("/")
    endpoint = _BY_ACTION.get(action)
    return None if endpoint is None else Match(endpoint, job)


class RawRequest(NamedTuple):
    """A request as received.

    Attributes:
        path: The path.
        headers: The headers, with names in lower case.
        client: The address and port of the client, if known.
        content: The body, or an asynchronous function that reads it.
        hung_up: An asynchronous function that returns when the client has disconnected.
        is_gone: A function that returns whether the client is known to have disconnected.
    """

    path: str
    headers: dict[bytes, bytes]
    client: tuple[str, int] | None
    content: bytes | Callable[[], Awaitable[bytes]]
    hung_up: Callable[[], Awaitable[None]]
    is_gone: Callable[[], bool]


class RawResponse(NamedTuple):
    """A complete response, ready to be sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def respond(services: Services, match: Match, request: RawRequest) -> RawResponse:
    """Serve a request to a fast-path endpoint.

    Args:
        services: The services of the master.
        match: The endpoint, and the part of the path that is the job id.
        request: The request.

    Returns:
        The response. Every error becomes a problem document.
    """
    endpoint, job_part = match
    start_s = time.monotonic()
    headers = request.headers
    try:
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        holder = await services.authenticator.authenticate(authorization, request.client)
        logs.add_context(who=holder.name, node=holder.node, job_id=job_part or None)
        check_role(holder, *endpoint.roles)
        check_json(headers.get(b"content-type", b"").decode("latin-1"))
        # A wrong id is reported even if the body is wrong, too.
        job_id = _job_id(job_part)
        _check_connected(request)
        content = request.content
        if not isinstance(content, bytes):
            content = await content()
        if endpoint.cleans_texts:
            content = value_rules.clean_json_texts(content)
            body = _decoded(endpoint, content)
        else:
            body = _decoded(endpoint, content)
            value_rules.check_json_texts(content)
        call = AgentCall(holder, job_id, body, content, headers, request.hung_up)
        response = _raw_response(await endpoint.handler(services, call))
    # Every error becomes a problem document; `problem_of` logs it.
    except Exception as error:
        response = _problem(problems.problem_of(error, "POST", request.path))
    services.metrics.count_request(
        endpoint.route, "POST", response.status, time.monotonic() - start_s
    )
    return response


def _check_connected(request: RawRequest) -> None:
    """Reject a request whose client disconnected during authentication.

    If such a request claimed a job, the job would not run until its lease expires.
    """
    if request.is_gone():
        raise ClientException("the client has disconnected")


def with_fast_path(app: ASGIApp, services: Services) -> ASGIApp:
    """Return an application that serves the fast-path endpoints and passes the rest to `app`."""

    async def fast_path(scope: Any, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        match = match_endpoint(scope["path"]) if is_post else None
        if match is None:
            await app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])

        async def hung_up() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        request = RawRequest(
            scope["path"],
            headers,
            scope.get("client"),
            # If the client disconnects, the body is empty, and no endpoint accepts an empty body.
            lambda: _body(receive, headers),
            hung_up,
            lambda: False,
        )
        await _send(send, await respond(services, match, request))

    return fast_path


def _job_id(part: str) -> UUID:
    if not part:
        return _NO_JOB
    try:
        return msgspec.convert(part, UUID)
    except msgspec.ValidationError as error:
        raise NotFoundException(f"there is no job {part[:64]!r}: its id is a UUID") from error


def _too_large() -> TooLargeError:
    return TooLargeError(f"the body is too large; at most {MAX_AGENT_BODY_BYTES} bytes are allowed")


async def _body(receive: Receive, headers: dict[bytes, bytes]) -> bytes:
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > MAX_AGENT_BODY_BYTES:
        raise _too_large()
    message: Any = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_AGENT_BODY_BYTES:
            raise _too_large()
    return body


def _decoded(endpoint: Endpoint[B], body: bytes) -> B:
    try:
        decoded: B = _DECODERS[endpoint.route].decode(body)
    except msgspec.DecodeError as error:
        place, message = field_errors.split_message(error)
        message = field_errors.describe_field(endpoint.body, place, message)
        extra = [{"key": place, "message": message}]
        raise ClientException("the body is not valid", extra=extra) from error
    return decoded


def _raw_response(answer: AgentResponse) -> RawResponse:
    if answer.body is None:
        return RawResponse(answer.status, [], b"")
    body = _encode(answer.body)
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    if answer.location is not None:
        headers.append((b"location", answer.location.encode()))
    return RawResponse(answer.status, headers, body)


def _problem(problem: problems.ProblemResponse) -> RawResponse:
    headers = [
        _PROBLEM,
        (b"content-length", b"%d" % len(problem.body)),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    return RawResponse(problem.status, headers, problem.body)


async def send_problem(send: Send, problem: problems.ProblemResponse) -> None:
    """Send a problem document."""
    await _send(send, _problem(problem))


async def _send(send: Send, response: RawResponse) -> None:
    start: Message = {
        "type": "http.response.start",
        "status": response.status,
        "headers": response.headers,
    }
    await send(start)
    end: Message = {"type": "http.response.body", "body": response.body, "more_body": False}
    await send(end)
