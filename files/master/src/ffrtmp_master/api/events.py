"""Events: what becomes of jobs and runs, sent while it happens."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import msgspec
from ffrtmp_shared.models import JobEvent, Role
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, HeaderParameter, SkipValidation
from litestar.response import ServerSentEvent, ServerSentEventMessage
from sqlalchemy import Connection

from ffrtmp_master.api import problems
from ffrtmp_master.api.pagination import after_position
from ffrtmp_master.api.stream_authorization import QUIET_S, is_still_authorized
from ffrtmp_master.auth.authentication import Call, require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import jobs, runs
from ffrtmp_master.store.events import Event, EventFilter
from ffrtmp_master.store.results import Position


@get(
    "/v1/events",
    guards=[require_role(Role.VIEWER)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    media_type="text/event-stream",
)
async def stream_events(
    request: Call,
    services: NamedDependency[SkipValidation[Services]],
    run: FromQuery[UUID | None] = None,
    job: FromQuery[UUID | None] = None,
    last: Annotated[str | None, HeaderParameter(name="Last-Event-ID", max_length=64)] = None,
) -> ServerSentEvent:
    """Send each transition of jobs, and the end of each run, from now on, as server-sent events.

    With Last-Event-ID (the `id` of an event that was received) from there on: nothing is left
    out, though the end of a run may come twice. The end of the one `run` that is asked for comes
    also when it was before.
    """
    after = None if last is None else after_position(last)

    def check(connection: Connection) -> None:
        if run is not None:
            runs.get_run(connection, run)
        if job is not None:
            jobs.get_job_row(connection, job)

    await services.reader.read(check)
    messages = _messages(services, request, EventFilter(run, job), after)
    # Once the answer begins nothing is missed any more.
    return ServerSentEvent(_beginning_with(await anext(messages), messages))


async def _beginning_with(
    first: ServerSentEventMessage, others: AsyncIterator[ServerSentEventMessage]
) -> AsyncIterator[ServerSentEventMessage]:
    yield first
    async for message in others:
        yield message


async def _messages(
    services: Services, call: Call, wanted: EventFilter, after: Position | None
) -> AsyncIterator[ServerSentEventMessage]:
    async with services.event_feed.subscribe(wanted, after) as follower:
        yield ServerSentEventMessage(data=None, comment="following")
        while (found := await follower.next(QUIET_S)) is not None:
            for event in found:
                yield _message(event)
            if not found:
                if not await is_still_authorized(services, call):
                    return
                yield ServerSentEventMessage(data=None, comment="nothing new")


def _message(event: Event) -> ServerSentEventMessage:
    return ServerSentEventMessage(
        event="transition" if isinstance(event.body, JobEvent) else "run",
        id=f"{event.place.transaction_id}.{event.place.sequence}",
        data=msgspec.json.encode(event.body),
    )


ROUTES: tuple[Any, ...] = (stream_events,)
