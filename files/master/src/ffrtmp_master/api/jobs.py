"""Jobs: reading them, and what their agents say while they work."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID

from ffrtmp_shared.models import (
    FailureReport,
    Heartbeat,
    HeartbeatAnswer,
    Job,
    JobPage,
    Role,
    Stored,
    Transition,
)
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, SkipValidation

from ffrtmp_master import problems
from ffrtmp_master.access import Call, agent_node, needs
from ffrtmp_master.api.paging import PAGE, after_id
from ffrtmp_master.farm import Farm
from ffrtmp_master.queue import completion, leases
from ffrtmp_master.store import jobs

FarmHere = NamedDependency[SkipValidation[Farm]]

_READ = problems.documented(HTTPStatus.NOT_FOUND)
_REPORT = problems.documented(
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


@get(
    "/v1/jobs",
    guards=[needs(Role.VIEWER)],
    responses=problems.documented(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_jobs(
    farm: FarmHere, run: FromQuery[UUID | None] = None, cursor: FromQuery[str] = ""
) -> JobPage:
    """List jobs, of one run or of all, in the order of their ids."""
    after = after_id(cursor)
    return await farm.reader.read(lambda c: jobs.page(c, run, after, PAGE))


@get("/v1/jobs/{job_id:uuid}", guards=[needs(Role.VIEWER)], responses=_READ)
async def get_job(job_id: FromPath[UUID], farm: FarmHere) -> Job:
    """Return a job as it stands."""
    return await farm.reader.read(lambda c: jobs.find(c, job_id))


@get("/v1/jobs/{job_id:uuid}/transitions", guards=[needs(Role.VIEWER)], responses=_READ)
async def get_transitions(job_id: FromPath[UUID], farm: FarmHere) -> Sequence[Transition]:
    """Return everything that became of a job, from the first."""
    return await farm.reader.read(lambda c: jobs.history(c, job_id))


@post(
    "/v1/jobs/{job_id:uuid}/heartbeat",
    guards=[needs(Role.AGENT)],
    responses=_REPORT,
    status_code=HTTPStatus.OK,
)
async def heartbeat(
    request: Call, job_id: FromPath[UUID], data: JSONBody[Heartbeat], farm: FarmHere
) -> HeartbeatAnswer:
    """Renew a lease. 409 when the attempt is over: the agent should give it up."""
    now, node, lease_s = farm.clock(), agent_node(request), farm.settings.lease_s
    cancel = await farm.writer.write(
        lambda c: leases.renew(c, job_id, node, data, now=now, lease_s=lease_s)
    )
    return HeartbeatAnswer(lease_s=lease_s, cancel=cancel)


@post(
    "/v1/jobs/{job_id:uuid}/failure",
    guards=[needs(Role.AGENT)],
    responses=_REPORT,
    status_code=HTTPStatus.OK,
)
async def report_failure(
    request: Call, job_id: FromPath[UUID], data: JSONBody[FailureReport], farm: FarmHere
) -> Stored:
    """Take an attempt that failed: the job is queued again, failed, or canceled."""
    now, node = farm.clock(), agent_node(request)
    backoff_s = farm.settings.retry_backoff_s
    failed = await farm.writer.write(
        lambda c: completion.take_failure(c, job_id, node, data, now=now, retry_backoff_s=backoff_s)
    )
    farm.attempts_ended([failed.ended])
    return failed.stored


ROUTES: tuple[Any, ...] = (list_jobs, get_job, get_transitions, heartbeat, report_failure)
