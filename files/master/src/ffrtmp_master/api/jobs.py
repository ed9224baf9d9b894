"""Jobs: reading, canceling, retrying and changing their priority."""

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from ffrtmp_shared import value_rules
from ffrtmp_shared.admin import AuditAction
from ffrtmp_shared.models import Job, JobPage, JobUpdate, Transition
from ffrtmp_shared.requirements import Priority
from ffrtmp_shared.states import JobState
from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, SkipValidation
from sqlalchemy import Connection

from ffrtmp_master.api import problems
from ffrtmp_master.api.pagination import PAGE, Cursor, Limit, after_id
from ffrtmp_master.api.path_params import NameQuery
from ffrtmp_master.api.request_validation import GROWING
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.queue import leases, operator_actions, pending_reasons
from ffrtmp_master.services import Services
from ffrtmp_master.store import audit, jobs, runs
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.jobs import JobFilter
from ffrtmp_master.store.priorities import priority_of
from ffrtmp_master.store.unit_of_work import UnitOfWork

InjectedServices = NamedDependency[SkipValidation[Services]]

_READ = problems.document_problems(HTTPStatus.NOT_FOUND)
_CHANGE = problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)

ScenarioQuery = Annotated[str | None, QueryParameter(pattern=value_rules.LINE)]
MomentQuery = Annotated[datetime | None, QueryParameter(description="a time with its UTC offset")]


@get(
    "/v1/jobs",
    guards=[require_role(*permissions.LIST_JOBS)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_jobs(
    services: InjectedServices,
    *,
    run: FromQuery[UUID | None] = None,
    job_state: Annotated[JobState | None, QueryParameter(name="state")] = None,
    node: NameQuery = None,
    scenario: ScenarioQuery = None,
    priority: FromQuery[Priority | None] = None,
    created_after: MomentQuery = None,
    created_before: MomentQuery = None,
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> JobPage:
    """List the jobs that match all given filters, in the order of their ids.

    `node` selects jobs that are bound to the node, are leased to it, or ended on it. If there is no
    such run, the response is 404.
    """
    job_filter = JobFilter(
        run_id=run,
        state=job_state,
        node=node,
        scenario=scenario,
        priority=priority,
        created_after=_in_utc("created_after", created_after),
        created_before=_in_utc("created_before", created_before),
    )
    after = after_id(cursor)

    def read(connection: Connection) -> JobPage:
        if run is not None:
            runs.check_exists(connection, run)
        found = jobs.page_of_jobs(connection, job_filter, after, limit)
        return JobPage(
            items=_with_pending_reason(connection, found.items, services),
            next_cursor=found.next_cursor,
        )

    return await services.reader.read(read)


@get("/v1/jobs/{job_id:uuid}", guards=[require_role(*permissions.GET_JOB)], responses=_READ)
async def get_job(job_id: FromPath[UUID], services: InjectedServices) -> Job:
    """Return a job. A queued job includes the reason why it is waiting."""
    return await services.reader.read(lambda c: _find(c, job_id, services))


@get(
    "/v1/jobs/{job_id:uuid}/transitions",
    guards=[require_role(*permissions.GET_TRANSITIONS)],
    responses=_READ,
)
async def get_transitions(
    job_id: FromPath[UUID], services: InjectedServices
) -> Sequence[Transition]:
    """Return all state changes of a job, oldest first."""
    return await services.reader.read(lambda c: jobs.history(c, job_id))


@post(
    "/v1/jobs/{job_id:uuid}/cancel",
    guards=[require_role(*permissions.CANCEL_JOB)],
    responses=_READ,
    status_code=HTTPStatus.OK,
)
async def cancel_job(request: Call, job_id: FromPath[UUID], services: InjectedServices) -> Job:
    """Cancel a job. If it is running, its agent stops it at the next heartbeat.

    A job in a final state does not change.
    """
    by = request.user.name

    def cancel(work: UnitOfWork) -> Job:
        before = leases.lock_job(work, job_id).state
        operator_actions.cancel_job(work, job_id, by)
        if not before.is_final:
            # Repeated requests must not fill the audit log.
            _record(work, by, AuditAction.JOB_CANCELED, job_id, state=before)
        return _read_back(work, job_id, services)

    return await services.writer.write(cancel)


@post(
    "/v1/jobs/{job_id:uuid}/retry",
    guards=[require_role(*permissions.RETRY_JOB)],
    responses=_CHANGE,
    opt=GROWING,
)
async def retry_job(
    request: Call, job_id: FromPath[UUID], services: InjectedServices
) -> Response[Job]:
    """Retry a failed or canceled job by queuing a new job. The response contains the new job."""
    by, step_s = request.user.name, services.settings.priority_step_s

    def retry(work: UnitOfWork) -> Job:
        new_id = operator_actions.retry_job(work, job_id, by, step_s)
        _record(work, by, AuditAction.JOB_RETRIED, job_id, superseded_by=new_id)
        return _read_back(work, new_id, services)

    job = await services.writer.write(retry)
    return Response(job, headers={"Location": f"/v1/jobs/{job.id}"})


@patch(
    "/v1/jobs/{job_id:uuid}",
    guards=[require_role(*permissions.UPDATE_JOB)],
    responses=_CHANGE,
    opt=GROWING,
)
async def update_job(
    request: Call, job_id: FromPath[UUID], data: JSONBody[JobUpdate], services: InjectedServices
) -> Job:
    """Change the priority of a job. If the job is in a final state, the response is 409."""
    by, step_s = request.user.name, services.settings.priority_step_s

    def update(work: UnitOfWork) -> Job:
        before = priority_of(leases.lock_job(work, job_id).priority)
        operator_actions.set_priority(work, job_id, data.priority, step_s)
        _record(work, by, AuditAction.JOB_CHANGED, job_id, priority=data.priority, before=before)
        return _read_back(work, job_id, services)

    return await services.writer.write(update)


def _with_pending_reason(
    connection: Connection, found: Sequence[Job], services: Services
) -> tuple[Job, ...]:
    now = services.clock()
    return pending_reasons.explain_pending(
        connection, found, now, services.liveness.heard_since(now)
    )


def _find(connection: Connection, job_id: UUID, services: Services) -> Job:
    return _with_pending_reason(connection, [jobs.get_job(connection, job_id)], services)[0]


def _read_back(work: UnitOfWork, job_id: UUID, services: Services) -> Job:
    work.flush()
    return _find(work.connection, job_id, services)


def _record(work: UnitOfWork, by: str, action: AuditAction, job_id: UUID, **details: Any) -> None:
    audit.record(work.connection, work.now, by, action, str(job_id), **details)


def _in_utc(name: str, moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise UnprocessableError(f"{name}: the UTC offset is missing; append it, such as Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise UnprocessableError(f"{name}: the time is out of range in UTC") from error


ROUTES: tuple[Any, ...] = (
    list_jobs,
    get_job,
    get_transitions,
    cancel_job,
    retry_job,
    update_job,
)
