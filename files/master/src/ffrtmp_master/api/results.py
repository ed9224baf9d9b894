"""Results: taking them from agents and giving them to readers."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from ffrtmp_shared.models import ResultPage, ResultReport, Role, Stored
from ffrtmp_shared.states import JobState
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, SkipValidation

from ffrtmp_master import problems
from ffrtmp_master.access import Call, agent_node, needs
from ffrtmp_master.api.paging import PAGE, after_sequence
from ffrtmp_master.farm import Farm
from ffrtmp_master.queue import completion
from ffrtmp_master.store import results

FarmHere = NamedDependency[SkipValidation[Farm]]


@post(
    "/v1/jobs/{job_id:uuid}/result",
    guards=[needs(Role.AGENT)],
    responses=problems.documented(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    status_code=HTTPStatus.OK,
)
async def report_result(
    request: Call, job_id: FromPath[UUID], data: JSONBody[ResultReport], farm: FarmHere
) -> Stored:
    """Store what an attempt measured; it is durable when this answers."""
    now, node = farm.clock(), agent_node(request)
    stored = await farm.writer.write(lambda c: completion.take_result(c, job_id, node, data, now))
    if stored.state is JobState.SUCCEEDED and not stored.repeated:
        farm.metrics.results_accepted.inc()
    farm.waiting.wake_node(node)
    return stored


@get(
    "/v1/results",
    guards=[needs(Role.VIEWER)],
    responses=problems.documented(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_results(
    farm: FarmHere, run: FromQuery[UUID | None] = None, cursor: FromQuery[str] = ""
) -> ResultPage:
    """List results, of one run or of all, in the order in which they were stored."""
    after = after_sequence(cursor)
    return await farm.reader.read(lambda c: results.page(c, run, after, PAGE))


ROUTES: tuple[Any, ...] = (report_result, list_results)
