"""The logs of attempts: appended while they run, read afterwards or at the same time."""

from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from ffrtmp_shared.models import LogStored, Role
from litestar import MediaType, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter, SkipValidation
from litestar.response import Stream

from ffrtmp_master.api import problems
from ffrtmp_master.api.path_params import AttemptQuery
from ffrtmp_master.api.stream_authorization import QUIET_S, is_still_authorized
from ffrtmp_master.api.uploads import TextOperation, small_body
from ffrtmp_master.auth.authentication import Call, agent_node, require_role
from ffrtmp_master.queue import leases
from ffrtmp_master.services import Services
from ffrtmp_master.store import logs
from ffrtmp_master.store.errors import NotFoundError, UnprocessableError
from ffrtmp_master.store.logs import Appended, Key, Part
from ffrtmp_master.store.unit_of_work import UnitOfWork

InjectedServices = NamedDependency[SkipValidation[Services]]


@post(
    "/v1/jobs/{job_id:uuid}/log",
    guards=[require_role(Role.AGENT)],
    responses=problems.document_problems(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    # Counted while it comes, against the limit of a log.
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
    """Append text to the attempt's log, while it holds its lease.

    With `offset`, the log's size in bytes before this piece, sending the same piece again stores
    nothing twice; 409 when the log ends elsewhere. 413 when the log would become too large.
    """
    node = agent_node(request)
    max_bytes = services.settings.max_log_bytes
    piece = _text(await small_body(request, max_bytes))

    def append(work: UnitOfWork) -> Appended:
        leases.check_lease(leases.lock_job(work, job_id), attempt, node)
        return logs.append_log(work.connection, (job_id, attempt), piece, offset, max_bytes)

    appended = await services.writer.write(append)
    services.log_feed.wake((job_id, attempt))
    return LogStored(size_bytes=appended.size_bytes, repeated=appended.repeated)


@get(
    "/v1/jobs/{job_id:uuid}/log",
    guards=[require_role(Role.VIEWER)],
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
    """Give an attempt's log, that of the newest without `attempt`.

    With `follow` the answer goes on while the attempt runs, and ends when it does.
    """
    if attempt is None:
        attempt = await services.reader.read(lambda c: logs.last_attempt(c, job_id))
    key: Key = (job_id, attempt)
    first = await services.reader.read(lambda c: logs.read_log(c, key, 0))
    parts = _stream(services, request, key, first) if follow else _stored(services, key, first)
    return Stream(parts, media_type=MediaType.TEXT)


async def _stored(services: Services, key: Key, part: Part) -> AsyncIterator[str]:
    yield part.text
    while part.has_more:
        part = await _next(services, key, part)
        yield part.text


async def _stream(services: Services, call: Call, key: Key, part: Part) -> AsyncIterator[str]:
    with services.log_feed.subscribe(key) as follower:
        yield part.text
        while (part.has_more or part.standing.is_running) and not services.log_feed.is_closed:
            if part.text:
                follower.seen = part.standing
            if not part.has_more and not await follower.sleep(QUIET_S):
                if not await is_still_authorized(services, call):
                    return
                continue
            try:
                part = await _next(services, key, part)
            except NotFoundError:
                # Its job was removed, the log with it.
                return
            if part.text:
                yield part.text


async def _next(services: Services, key: Key, part: Part) -> Part:
    return await services.reader.read(partial(logs.read_log, key=key, after_bytes=part.end_bytes))


def _text(body: bytes) -> str:
    """Read a piece; raises UnacceptableError unless every database can store it."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UnprocessableError(f"a log is UTF-8: {error}") from error
    if "\x00" in text:
        raise UnprocessableError("a log has no NUL characters")
    return text


ROUTES: tuple[Any, ...] = (append_log, read_log)
