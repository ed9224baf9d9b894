"""The logs of attempts, which agents append to and clients read or follow."""

from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from ffrtmp_shared.agent_models import LogStored
from litestar import MediaType, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter, SkipValidation
from litestar.response import Stream

from ffrtmp_master.api import problems
from ffrtmp_master.api.path_params import AttemptQuery
from ffrtmp_master.api.request_validation import GROWING
from ffrtmp_master.api.stream_authorization import QUIET_S, TokenWatch, watch_of, while_valid
from ffrtmp_master.api.uploads import TextOperation, small_body
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import agent_node, require_role
from ffrtmp_master.queue import leases
from ffrtmp_master.services import Services
from ffrtmp_master.store import logs
from ffrtmp_master.store.errors import NotFoundError, UnprocessableError
from ffrtmp_master.store.logs import Appended, Key, Part
from ffrtmp_master.store.unit_of_work import UnitOfWork

InjectedServices = NamedDependency[SkipValidation[Services]]


@post(
    "/v1/jobs/{job_id:uuid}/log",
    guards=[require_role(*permissions.APPEND_LOG)],
    responses=problems.document_problems(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    opt=GROWING,
    # The handler counts the bytes and enforces the maximum size of a log.
    request_max_body_size=None,
    operation_class=TextOperation,
    status_code=HTTPStatus.OK,
)
async def append_log(
    request: Call,
    job_id: FromPath[UUID],
    services: InjectedServices,
    attempt: AttemptQuery,
    offset: Annotated[int | None, QueryParameter(ge=0, le=2**31 - 1)] = None,
) -> LogStored:
    """Append text to the log of an attempt that holds its lease.

    `offset` is the size of the log in bytes before this text. If `offset` is given, a repeated
    request stores the text only once, and the response is 409 if the log has another size. If the
    log would exceed its maximum size, the response is 413.
    """
    node = agent_node(request)
    max_bytes = services.settings.max_log_bytes
    text = _text(await small_body(request, max_bytes))

    def append(work: UnitOfWork) -> Appended:
        leases.check_lease(leases.lock_job(work, job_id), attempt, node)
        return logs.append_log(work.connection, (job_id, attempt), text, offset, max_bytes)

    appended = await services.writer.write(append)
    services.log_feed.wake((job_id, attempt))
    return LogStored(size_bytes=appended.size_bytes, repeated=appended.repeated)


@get(
    "/v1/jobs/{job_id:uuid}/log",
    guards=[require_role(*permissions.READ_LOG)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND),
    media_type=MediaType.TEXT,
)
async def read_log(
    request: Call,
    job_id: FromPath[UUID],
    services: InjectedServices,
    attempt: Annotated[int | None, QueryParameter(ge=1, le=2**31 - 1)] = None,
    follow: FromQuery[bool] = False,
) -> Stream:
    """Return the log of an attempt, by default that of the latest attempt.

    If `follow` is true, the response continues until the attempt ends.
    """
    if attempt is None:
        attempt = await services.reader.read(lambda c: logs.last_attempt(c, job_id))
    key: Key = (job_id, attempt)
    first = await services.reader.read(lambda c: logs.read_log(c, key, 0))
    watch = watch_of(services, request)
    if follow:
        parts = _stream(services, watch, key, first)
    else:
        parts = while_valid(watch, _stored(services, key, first))
    return Stream(parts, media_type=MediaType.TEXT)


async def _stored(services: Services, key: Key, part: Part) -> AsyncIterator[str]:
    yield part.text
    while part.has_more:
        part = await _next(services, key, part)
        yield part.text


async def _stream(
    services: Services, watch: TokenWatch, key: Key, part: Part
) -> AsyncIterator[str]:
    with services.log_feed.subscribe(key) as subscriber:
        yield part.text
        while (part.has_more or part.standing.is_running) and not services.log_feed.is_closed:
            if part.text:
                subscriber.seen = part.standing
            is_awake = part.has_more or await subscriber.sleep(QUIET_S)
            if not await watch.is_valid():
                return
            if not is_awake:
                continue
            try:
                part = await _next(services, key, part)
            except NotFoundError:
                # The job has been removed together with its log.
                return
            if part.text:
                yield part.text


async def _next(services: Services, key: Key, part: Part) -> Part:
    return await services.reader.read(partial(logs.read_log, key=key, after_bytes=part.end_bytes))


def _text(body: bytes) -> str:
    """Decode the text for a log.

    Raises UnprocessableError if the text is not valid UTF-8 or contains NUL characters, which
    PostgreSQL cannot store.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UnprocessableError(f"a log must be UTF-8 text: {error}") from error
    if "\x00" in text:
        raise UnprocessableError("a log must not contain NUL characters")
    return text


ROUTES: tuple[Any, ...] = (append_log, read_log)
