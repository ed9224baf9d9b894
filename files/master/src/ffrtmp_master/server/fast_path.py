"""From a hot call as it came to its answer, whichever way it came.

Most come right from their connection (`direct`), the others through ASGI, where what is no hot
call goes on to the application behind.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from ffrtmp_shared import logs
from litestar.exceptions import ClientException, NotFoundException
from litestar.types import ASGIApp, Message, Receive, Send

from ffrtmp_master.api import problems
from ffrtmp_master.api.agent_endpoints import ENDPOINTS, AgentCall, AgentResponse, Endpoint
from ffrtmp_master.api.request_validation import check_json
from ffrtmp_master.auth.authentication import check_role
from ffrtmp_master.services import Services
from ffrtmp_master.store.errors import TooLargeError

B = TypeVar("B")

_MAX_BODY_BYTES = 4 * 1024 * 1024
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", problems.MEDIA_TYPE.encode())

_BY_PATH = {one.route: one for one in ENDPOINTS if "{" not in one.route}
_BY_DEED = {one.route.rpartition("/")[2]: one for one in ENDPOINTS if "{" in one.route}
_DECODERS = {one.route: msgspec.json.Decoder(one.body) for one in ENDPOINTS}
_JOBS = "/v1/jobs/"
_NO_JOB = UUID(int=0)

_encode = msgspec.json.Encoder().encode


class Match(NamedTuple):
    """The hot call that a path is of, and the part of the path that names the job."""

    endpoint: Endpoint[Any]
    job_part: str


def match_endpoint(path: str) -> Match | None:
    """Return the hot call that a path is of; None if of none."""
    endpoint = _BY_PATH.get(path)
    if endpoint is not None:
        return Match(endpoint, "")
    if not path.startswith(_JOBS):
        return None
    job, _, deed = path[len(_JOBS) :].partition("/")
    endpoint = _BY_DEED.get(deed)
    return None if endpoint is None else Match(endpoint, job)


class RawRequest(NamedTuple):
    """A request as it came, with its body or how to read that.

    `hung_up` ends once the caller is gone; `is_gone` says so, as far as is known.
    """

    path: str
    headers: dict[bytes, bytes]
    client: tuple[str, int] | None
    content: bytes | Callable[[], Awaitable[bytes]]
    hung_up: Callable[[], Awaitable[None]]
    is_gone: Callable[[], bool]


class RawResponse(NamedTuple):
    """What is sent back, whole."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def respond(services: Services, found: Match, asked: RawRequest) -> RawResponse:
    """Do what a hot call asks and return the answer, whatever went wrong."""
    endpoint, job_part = found
    start_s = time.monotonic()
    headers = asked.headers
    try:
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        holder = await services.authenticator.authenticate(authorization, asked.client)
        logs.add_context(who=holder.name, node=holder.node, job_id=job_part or None)
        check_role(holder, endpoint.role)
        check_json(headers.get(b"content-type", b"").decode("latin-1"))
        _check_job_exists(asked)
        content = asked.content
        if not isinstance(content, bytes):
            content = await content()
        body = _decoded(endpoint, content)
        call = AgentCall(holder, _job_id(job_part), body, content, headers, asked.hung_up)
        replied = _raw_response(await endpoint.handler(services, call))
    # Whatever went wrong is told as a problem document, and logged there.
    except Exception as error:
        replied = _problem(problems.problem_of(error, "POST", asked.path))
    services.metrics.count_request(
        endpoint.route, "POST", replied.status, time.monotonic() - start_s
    )
    return replied


def _check_job_exists(asked: RawRequest) -> None:
    """Refuse who hung up while its token was looked up: nobody would work on what it claims."""
    if asked.is_gone():
        raise ClientException("the caller hung up")


def with_fast_path(app: ASGIApp, services: Services) -> ASGIApp:
    """Return an application that answers the hot calls itself and hands the rest to `app`."""

    async def hot(scope: Any, receive: Receive, send: Send) -> None:
        is_call = scope["type"] == "http" and scope["method"] == "POST"
        found = match_endpoint(scope["path"]) if is_call else None
        if found is None:
            await app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])

        async def hung_up() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        asked = RawRequest(
            scope["path"],
            headers,
            scope.get("client"),
            # Of who is gone it reads nothing, which fits no call.
            lambda: _body(receive, headers),
            hung_up,
            lambda: False,
        )
        await _send(send, await respond(services, found, asked))

    return hot


def _job_id(part: str) -> UUID:
    if not part:
        return _NO_JOB
    try:
        return msgspec.convert(part, UUID)
    except msgspec.ValidationError as error:
        raise NotFoundException(f"there is no job {part!r}") from error


async def _body(receive: Receive, headers: dict[bytes, bytes]) -> bytes:
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > _MAX_BODY_BYTES:
        raise TooLargeError(f"a body may have {_MAX_BODY_BYTES} bytes")
    message: Any = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MAX_BODY_BYTES:
            raise TooLargeError(f"a body may have {_MAX_BODY_BYTES} bytes")
    return body


def _decoded(endpoint: Endpoint[B], body: bytes) -> B:
    try:
        decoded: B = _DECODERS[endpoint.route].decode(body)
    except msgspec.DecodeError as error:
        said, _, place = str(error).partition(" - at `$")
        wrong = {"key": place.strip(".`"), "message": said}
        raise ClientException("the body does not fit", extra=[wrong]) from error
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
    """Send what has been made of an error."""
    await _send(send, _problem(problem))


async def _send(send: Send, replied: RawResponse) -> None:
    start: Message = {
        "type": "http.response.start",
        "status": replied.status,
        "headers": replied.headers,
    }
    await send(start)
    end: Message = {"type": "http.response.body", "body": replied.body, "more_body": False}
    await send(end)
