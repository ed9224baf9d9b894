"""Runs: planning, creating, reading, canceling and retrying."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import msgspec
from ffrtmp_shared import value_rules
from ffrtmp_shared.admin import AuditAction
from ffrtmp_shared.models import Run, RunPage, RunRequest
from ffrtmp_shared.precision import Precision, RunPrecision
from ffrtmp_shared.run_plan import RunPlan
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter, SkipValidation
from sqlalchemy import Connection

from ffrtmp_master.api import problems
from ffrtmp_master.api.pagination import PAGE, Cursor, Limit, after_id
from ffrtmp_master.api.path_params import NameQuery
from ffrtmp_master.api.request_validation import GROWING
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.queue import operator_actions, pending_jobs
from ffrtmp_master.runs import expansion, interim_looks, precision_report, run_plan
from ffrtmp_master.runs.expansion import CreatedRun
from ffrtmp_master.services import Services
from ffrtmp_master.store import audit, control_speeds, job_outcomes, runs
from ffrtmp_master.store.control_speeds import NodeDrift
from ffrtmp_master.store.job_outcomes import JobOutcome
from ffrtmp_master.store.runs import RunFilter
from ffrtmp_master.store.unit_of_work import UnitOfWork

InjectedServices = NamedDependency[SkipValidation[Services]]

IdempotencyKey = Annotated[
    str | None, HeaderParameter(name="Idempotency-Key", pattern=value_rules.KEY)
]

_YAML = "application/yaml"

_REFUSALS = problems.document_problems(
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
)


@post(
    "/v1/runs",
    guards=[require_role(*permissions.CREATE_RUN)],
    responses={
        **_REFUSALS,
        HTTPStatus.OK: ResponseSpec(
            Run, description="the existing run with this key", generate_examples=False
        ),
    },
    opt=GROWING,
)
async def create_run(
    request: Call,
    data: JSONBody[RunRequest],
    services: InjectedServices,
    idempotency_key: IdempotencyKey = None,
) -> Response[Run]:
    """Create a run and queue the jobs of its suite.

    If a run with the same Idempotency-Key exists, that run is returned with status 200.
    """
    requested = await _new_run(request, data, services, idempotency_key)
    heard_since = services.liveness.heard_since(services.clock())
    new_run = await services.reader.read(
        lambda c: run_plan.with_chosen_controls(c, requested, heard_since)
    )

    def create(work: UnitOfWork) -> CreatedRun:
        created = expansion.create_run(
            work,
            new_run,
            services.catalog,
            services.settings,
            services.liveness.heard_since(work.now),
        )
        if not created.existed:
            details = {"suite": created.run.suite_name, "priority": created.run.priority}
            _record(work, new_run.created_by, AuditAction.RUN_CREATED, created.run.id, **details)
        return created

    created = await services.writer.write(create)
    services.suites.remember(created.run.id, new_run.suite)
    run = await _explained_later(created.run, services)
    if created.existed:
        return Response(run, status_code=HTTPStatus.OK)
    return Response(run, headers={"Location": f"/v1/runs/{run.id}"})


@post(
    "/v1/runs/plan",
    guards=[require_role(*permissions.PLAN_RUN)],
    responses=_REFUSALS,
    status_code=HTTPStatus.OK,
)
async def plan_run(
    request: Call,
    data: JSONBody[RunRequest],
    services: InjectedServices,
    idempotency_key: IdempotencyKey = None,
) -> RunPlan:
    """Return the jobs that a run of the suite would queue.

    The files of the suite need not have been uploaded. If there is a run with the same
    Idempotency-Key, the plan names that run, and whether it is a run of the same suite.
    """
    new_run = await _new_run(request, data, services, idempotency_key)
    heard_since = services.liveness.heard_since(services.clock())
    return await services.reader.read(lambda c: run_plan.plan_run(c, new_run, heard_since))


@get(
    "/v1/runs",
    guards=[require_role(*permissions.LIST_RUNS)],
    responses=problems.document_problems(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_runs(
    request: Call,
    services: InjectedServices,
    *,
    cursor: Cursor = "",
    key: Annotated[str | None, QueryParameter(pattern=value_rules.LINE)] = None,
    created_by: NameQuery = None,
    unfinished: Annotated[
        bool, QueryParameter(description="whether to list only runs that are not finished")
    ] = False,
    limit: Limit = PAGE,
) -> RunPage:
    """List runs, newest first. For each run with queued jobs, the reasons are included.

    If `created_by` is given, list only the runs of this submitter. If `key` is given, list only the
    run with this Idempotency-Key, which belongs to the caller unless `created_by` names another
    submitter.
    """
    before = after_id(cursor)
    owner = request.user.name if created_by is None and key is not None else created_by
    run_filter = RunFilter(created_by=owner, key=key, only_unfinished=unfinished)

    def read(connection: Connection) -> RunPage:
        page = runs.page_of_runs(connection, before, limit, run_filter)
        return msgspec.structs.replace(page, items=_explained(connection, page.items, services))

    return await services.reader.read(read)


@get(
    "/v1/runs/{run_id:uuid}",
    guards=[require_role(*permissions.GET_RUN)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND),
)
async def get_run(run_id: FromPath[UUID], services: InjectedServices) -> Run:
    """Return a run. If it has queued jobs, the reasons why they wait are included."""
    return await services.reader.read(
        lambda c: _explained(c, [runs.get_run(c, run_id)], services)[0]
    )


@get(
    "/v1/runs/{run_id:uuid}/suite",
    guards=[require_role(*permissions.GET_SUITE)],
    media_type=_YAML,
    responses={
        **problems.document_problems(HTTPStatus.NOT_FOUND),
        HTTPStatus.OK: ResponseSpec(
            dict[str, Any], description="the suite", generate_examples=False, media_type=_YAML
        ),
    },
)
async def get_suite(run_id: FromPath[UUID], services: InjectedServices) -> Response[bytes]:
    """Return the suite of a run, as it was submitted."""
    text = await services.reader.read(lambda c: runs.suite_of(c, run_id))
    return Response(text.encode(), media_type=_YAML)


@get(
    "/v1/runs/{run_id:uuid}/precision",
    guards=[require_role(*permissions.GET_PRECISION)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS),
)
async def get_precision(run_id: FromPath[UUID], services: InjectedServices) -> RunPrecision:
    """Return how precisely the speeds in a run were measured, and whether its nodes drifted."""

    def read(
        connection: Connection,
    ) -> tuple[Run, str, Sequence[JobOutcome], Mapping[str, NodeDrift]]:
        run = runs.get_run(connection, run_id)
        is_remembered = services.suites.is_remembered(run_id)
        text = "" if is_remembered else runs.suite_of(connection, run_id)
        found = control_speeds.drifts_of_runs(connection, [run_id])
        drifts = {node: drift for (_, node), drift in found.items()}
        return run, text, job_outcomes.outcomes_of_run(connection, run_id), drifts

    run, text, jobs, drifts = await services.reader.read(read)
    outline = await services.suites.outline(run_id, text)

    def report() -> RunPrecision:
        target, planned = outline.precision or Precision(), interim_looks.looks_of(outline)
        return precision_report.precision_report(jobs, target, planned, run.unsettled_nodes, drifts)

    return await services.compute_pool.run(report)


@post(
    "/v1/runs/{run_id:uuid}/cancel",
    guards=[require_role(*permissions.CANCEL_RUN)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND),
    status_code=HTTPStatus.OK,
)
async def cancel_run(request: Call, run_id: FromPath[UUID], services: InjectedServices) -> Run:
    """Cancel the jobs of a run; agents stop its running jobs at the next heartbeat."""
    by = request.user.name

    def cancel(work: UnitOfWork) -> Run:
        before = runs.get_run(work.connection, run_id)
        run = operator_actions.cancel_run(work, run_id, by)
        if not before.state.is_final:
            # Repeated requests must not fill the audit log.
            _record(work, by, AuditAction.RUN_CANCELED, run_id, counts=run.counts)
        # A canceled run has no queued jobs to explain.
        return run

    return await services.writer.write(cancel)


@post(
    "/v1/runs/{run_id:uuid}/retry",
    guards=[require_role(*permissions.RETRY_RUN)],
    opt=GROWING,
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    status_code=HTTPStatus.OK,
)
async def retry_run(request: Call, run_id: FromPath[UUID], services: InjectedServices) -> Run:
    """Retry the failed and canceled jobs of a run by adding new jobs to the run."""
    by, step_s = request.user.name, services.settings.priority_step_s

    def retry(work: UnitOfWork) -> Run:
        run = operator_actions.retry_run(work, run_id, by, step_s)
        _record(work, by, AuditAction.RUN_RETRIED, run_id, counts=run.counts)
        return run

    return await _explained_later(await services.writer.write(retry), services)


async def _new_run(
    request: Call, data: RunRequest, services: Services, key: str | None
) -> expansion.NewRun:
    """Return the requested run with its decoded suite."""
    return expansion.NewRun(
        text=data.suite,
        suite=await services.suites.parse(data.suite),
        seed=data.seed,
        key=key,
        created_by=request.user.name,
        when_unmet=data.when_unmet,
        repeats_min=services.settings.repeats_min,
    )


def _explained(
    connection: Connection, listed_runs: Sequence[Run], services: Services
) -> tuple[Run, ...]:
    """Add the reasons why queued jobs of the runs wait."""
    now = services.clock()
    heard_since = services.liveness.heard_since(now)
    return pending_jobs.explain_runs(connection, listed_runs, now, heard_since)


async def _explained_later(run: Run, services: Services) -> Run:
    """Add the reasons why queued jobs of a run wait, after the transaction that changed the run.

    The reasons depend on all nodes and all queued jobs of the run. In the transaction, claims would
    wait until they are read.
    """
    return await services.reader.read(lambda c: _explained(c, [run], services)[0])


def _record(work: UnitOfWork, by: str, action: AuditAction, run_id: UUID, **details: Any) -> None:
    audit.record(work.connection, work.now, by, action, str(run_id), **details)


ROUTES: tuple[Any, ...] = (
    create_run, plan_run, list_runs, get_run, get_suite, get_precision, cancel_run, retry_run
)  # fmt: skip
