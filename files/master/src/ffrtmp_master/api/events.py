"""The event stream, which reports state changes of jobs and the ends of runs as they happen."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import msgspec
from ffrtmp_shared.models import JobEvent
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, HeaderParameter, SkipValidation
from litestar.response import ServerSentEvent, ServerSentEventMessage
from sqlalchemy import Connection

from ffrtmp_master.api import problems
from ffrtmp_master.api.stream_authorization import QUIET_S, TokenWatch, watch_of
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import jobs, runs
from ffrtmp_master.store.epochs import History, parse_cursor, read_history
from ffrtmp_master.store.events import Event, EventFilter, FeedStart
from ffrtmp_master.store.schema import transitions


@get(
    "/v1/events",
    guards=[require_role(*permissions.STREAM_EVENTS)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    media_type="text/event-stream",
)
async def stream_events(
    request: Call,
    services: NamedDependency[SkipValidation[Services]],
    run: FromQuery[UUID | None] = None,
    job: FromQuery[UUID | None] = None,
    last: Annotated[str | None, HeaderParameter(name="Last-Event-ID", max_length=512)] = None,
) -> ServerSentEvent:
    """Stream the state changes of jobs and the ends of runs as server-sent events.

    By default, the stream begins with the next event. If the header Last-Event-ID contains the `id`
    of an event, the stream begins with the event after that one. No event is omitted, but the end
    of a run may be sent twice. If `run` is given and that run has already ended, its end is sent
    too. The stream ends if the database is replaced by a backup.
    """
    marks = None if last is None else parse_cursor(last, "Last-Event-ID")

    def check(connection: Connection) -> History:
        if run is not None:
            runs.get_run(connection, run)
        if job is not None:
            jobs.get_job_row(connection, job)
        return read_history(connection, transitions)

    history = await services.reader.read(check)
    after = None if marks is None else FeedStart(history, history.position_of(marks))
    watch = watch_of(services, request)
    messages = _messages(services, watch, EventFilter(run, job), after)
    # The generator yields its first message after it has subscribed. Waiting for that message
    # before the response headers are sent ensures that no later event is missed.
    return ServerSentEvent(_prepend(await anext(messages), messages))


async def _prepend(
    first: ServerSentEventMessage, others: AsyncIterator[ServerSentEventMessage]
) -> AsyncIterator[ServerSentEventMessage]:
    yield first
    async for message in others:
        yield message


async def _messages(
    services: Services,
    watch: TokenWatch,
    event_filter: EventFilter,
    after: FeedStart | None,
) -> AsyncIterator[ServerSentEventMessage]:
    async with services.event_feed.subscribe(event_filter, after) as subscriber:
        yield ServerSentEventMessage(data=None, comment="following")
        while (found := await subscriber.next(QUIET_S)) is not None:
            for event in found:
                if not await watch.is_valid():
                    return
                yield _message(event, subscriber.history)
            if not found:
                if not await watch.is_valid():
                    return
                yield ServerSentEventMessage(data=None, comment="nothing new")


def _message(event: Event, history: History) -> ServerSentEventMessage:
    return ServerSentEventMessage(
        event="transition" if isinstance(event.body, JobEvent) else "run",
        id=history.cursor_at(event.place),
        data=msgspec.json.encode(event.body),
    )


ROUTES: tuple[Any, ...] = (stream_events,)
