"""The list of results."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from ffrtmp_shared.models import ResultPage, Role
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.api.pagination import PAGE, Cursor, Limit, after_position
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import results

InjectedServices = NamedDependency[SkipValidation[Services]]


@get(
    "/v1/results",
    guards=[require_role(Role.VIEWER)],
    responses=problems.document_problems(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_results(
    services: InjectedServices,
    run: FromQuery[UUID | None] = None,
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> ResultPage:
    """List all results or those of one run, in the order in which they were stored."""
    after = after_position(cursor)
    return await services.reader.read(lambda c: results.page_of_results(c, run, after, limit))


ROUTES: tuple[Any, ...] = (list_results,)
