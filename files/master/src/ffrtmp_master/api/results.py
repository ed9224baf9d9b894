"""Results, as readers get them."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from ffrtmp_shared.models import ResultPage, Role
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.api.paging import PAGE, Cursor, Limit, after_place
from ffrtmp_master.auth.authentication import needs
from ffrtmp_master.services import Farm
from ffrtmp_master.store import results

FarmHere = NamedDependency[SkipValidation[Farm]]


@get(
    "/v1/results",
    guards=[needs(Role.VIEWER)],
    responses=problems.documented(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_results(
    farm: FarmHere,
    run: FromQuery[UUID | None] = None,
    cursor: Cursor = "",
    limit: Limit = PAGE,
) -> ResultPage:
    """List results, of one run or of all, in the order in which they were stored."""
    after = after_place(cursor)
    return await farm.reader.read(lambda c: results.page(c, run, after, limit))


ROUTES: tuple[Any, ...] = (list_results,)
