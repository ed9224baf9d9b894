"""Runs: planning, creating, reading, canceling, doing over."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from ffrtmp_shared import suite
from ffrtmp_shared.admin import Deed
from ffrtmp_shared.models import Role, Run, RunPage, RunPlan, RunRequest
from ffrtmp_shared.precision import Precision, RunPrecision
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter, SkipValidation
from sqlalchemy import Connection

from ffrtmp_master.api import problems
from ffrtmp_master.api.paging import PAGE, PRINTABLE, Cursor, Limit, after_id
from ffrtmp_master.auth.authentication import Call, needs
from ffrtmp_master.queue import operator_actions
from ffrtmp_master.runs import expansion, precision_report
from ffrtmp_master.runs.expansion import Created
from ffrtmp_master.services import Farm
from ffrtmp_master.store import audit, job_outcomes, runs
from ffrtmp_master.store.errors import UnacceptableError
from ffrtmp_master.store.job_outcomes import Measured
from ffrtmp_master.store.unit_of_work import Work

FarmHere = NamedDependency[SkipValidation[Farm]]

_REFUSALS = problems.documented(
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


@post(
    "/v1/runs",
    guards=[needs(Role.SUBMITTER)],
    responses={
        **_REFUSALS,
        HTTPStatus.OK: ResponseSpec(
            Run, description="the run made before with this key", generate_examples=False
        ),
    },
)
async def create_run(
    request: Call,
    data: JSONBody[RunRequest],
    farm: FarmHere,
    key: Annotated[str | None, HeaderParameter(name="Idempotency-Key", pattern=PRINTABLE)] = None,
) -> Response[Run]:
    """Queue a suite. The same Idempotency-Key again answers 200 with the run made before."""
    asked = expansion.Asked(
        text=data.suite,
        suite=await _parsed(data.suite),
        seed=data.seed,
        key=key,
        created_by=request.user.name,
    )

    def create(work: Work) -> Created:
        created = expansion.create(
            work, asked, farm.catalog, farm.settings, farm.liveness.heard_since(work.now)
        )
        if not created.existed:
            details = {"suite": created.run.suite_name, "priority": created.run.priority}
            _write_down(work, asked.created_by, Deed.RUN_CREATED, created.run.id, **details)
        return created

    created = await farm.writer.write(create)
    if created.existed:
        return Response(created.run, status_code=HTTPStatus.OK)
    return Response(created.run, headers={"Location": f"/v1/runs/{created.run.id}"})


@post(
    "/v1/runs/plan",
    guards=[needs(Role.SUBMITTER)],
    responses=_REFUSALS,
    status_code=HTTPStatus.OK,
)
async def plan_run(data: JSONBody[RunRequest], farm: FarmHere) -> RunPlan:
    """Say what a suite would queue, and queue nothing; its sources need not be here yet."""
    read = await _parsed(data.suite)
    heard_since = farm.liveness.heard_since(farm.clock())
    return await farm.reader.read(lambda c: expansion.plan(c, read, heard_since))


@get(
    "/v1/runs",
    guards=[needs(Role.VIEWER)],
    responses=problems.documented(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_runs(
    farm: FarmHere,
    cursor: Cursor = "",
    key: Annotated[str | None, QueryParameter(pattern=PRINTABLE)] = None,
    limit: Limit = PAGE,
) -> RunPage:
    """List runs, newest first; with `key`, those that were made with this Idempotency-Key."""
    before = after_id(cursor)
    return await farm.reader.read(lambda c: runs.page(c, before, limit, key))


@get(
    "/v1/runs/{run_id:uuid}",
    guards=[needs(Role.VIEWER)],
    responses=problems.documented(HTTPStatus.NOT_FOUND),
)
async def get_run(run_id: FromPath[UUID], farm: FarmHere) -> Run:
    """Return a run as it stands."""
    return await farm.reader.read(lambda c: runs.find(c, run_id))


@get(
    "/v1/runs/{run_id:uuid}/precision",
    guards=[needs(Role.VIEWER)],
    responses=problems.documented(HTTPStatus.NOT_FOUND),
)
async def get_precision(run_id: FromPath[UUID], farm: FarmHere) -> RunPrecision:
    """Say how well the speeds of a run are known, and whether its nodes stayed the same."""

    def found(connection: Connection) -> tuple[Run, str, Sequence[Measured]]:
        run = runs.find(connection, run_id)
        return run, runs.suite_of(connection, run_id), job_outcomes.of_run(connection, run_id)

    run, text, jobs = await farm.reader.read(found)
    asked = (await _parsed(text)).precision or Precision()
    return await asyncio.to_thread(precision_report.of_run, jobs, asked, run.unsettled_nodes)


@post(
    "/v1/runs/{run_id:uuid}/cancel",
    guards=[needs(Role.SUBMITTER)],
    responses=problems.documented(HTTPStatus.NOT_FOUND),
    status_code=HTTPStatus.OK,
)
async def cancel_run(request: Call, run_id: FromPath[UUID], farm: FarmHere) -> Run:
    """Cancel what is queued, and tell the agents of what runs to stop."""
    by = request.user.name

    def cancel(work: Work) -> Run:
        run = operator_actions.cancel_run(work, run_id, by)
        _write_down(work, by, Deed.RUN_CANCELED, run_id, counts=run.counts)
        return run

    return await farm.writer.write(cancel)


@post(
    "/v1/runs/{run_id:uuid}/retry",
    guards=[needs(Role.SUBMITTER)],
    responses=problems.documented(HTTPStatus.NOT_FOUND),
    status_code=HTTPStatus.OK,
)
async def retry_run(request: Call, run_id: FromPath[UUID], farm: FarmHere) -> Run:
    """Do all over that failed or was canceled: the run gets new jobs for them."""
    by, step_s = request.user.name, farm.settings.priority_step_s

    def retry(work: Work) -> Run:
        run = operator_actions.retry_run(work, run_id, by, step_s)
        _write_down(work, by, Deed.RUN_RETRIED, run_id, counts=run.counts)
        return run

    return await farm.writer.write(retry)


def _write_down(work: Work, by: str, deed: Deed, run_id: UUID, **details: Any) -> None:
    audit.write_down(work.connection, work.now, by, deed, str(run_id), **details)


async def _parsed(text: str) -> suite.Suite:
    """Read a suite beside the event loop: a large one takes seconds."""
    try:
        return await asyncio.to_thread(suite.parse, text)
    except suite.SuiteError as error:
        raise UnacceptableError(
            "the suite is not valid", [str(problem) for problem in error.problems]
        ) from error


ROUTES: tuple[Any, ...] = (
    create_run, plan_run, list_runs, get_run, get_precision, cancel_run, retry_run
)  # fmt: skip
