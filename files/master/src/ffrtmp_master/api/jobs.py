"""Jobs: reading them."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID

from ffrtmp_shared.models import Job, JobPage, Role, Transition
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, SkipValidation

from ffrtmp_master import problems
from ffrtmp_master.access import needs
from ffrtmp_master.api.paging import PAGE, after_id
from ffrtmp_master.farm import Farm
from ffrtmp_master.store import jobs

FarmHere = NamedDependency[SkipValidation[Farm]]

_READ = problems.documented(HTTPStatus.NOT_FOUND)


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


ROUTES: tuple[Any, ...] = (list_jobs, get_job, get_transitions)
