"""The list of results."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from ffrtmp_shared.models import ResultPage
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, SkipValidation
from sqlalchemy import Connection

from ffrtmp_master.api import problems
from ffrtmp_master.api.pagination import PAGE, Cursor, Limit
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import results, runs
from ffrtmp_master.store.epochs import parse_cursor

InjectedServices = NamedDependency[SkipValidation[Services]]


@get(
    "/v1/results",
    guards=[require_role(*permissions.LIST_RESULTS)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_results(
    services: InjectedServices,
    run: FromQuery[UUID | None] = None,
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> ResultPage:
    """List all results or those of one run, in the order in which they were stored.

    If `epoch` differs from that of an earlier page, the database may have been restored from a
    backup since then. The cursor remains valid, but results that were listed before may be lost.
    If there is no such run, the response is 404.
    """
    marks = parse_cursor(cursor)

    def read(connection: Connection) -> ResultPage:
        if run is not None:
            runs.check_exists(connection, run)
        return results.page_of_results(connection, run, marks, limit)

    return await services.reader.read(read)


ROUTES: tuple[Any, ...] = (list_results,)
