"""The audit log: who did what to the farm."""

from http import HTTPStatus
from typing import Any

from ffrtmp_shared.admin import AuditPage
from ffrtmp_shared.models import Role
from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.api.paging import PAGE, Cursor, Limit, before_number
from ffrtmp_master.auth.authentication import needs
from ffrtmp_master.services import Farm
from ffrtmp_master.store import audit


@get(
    "/v1/audit",
    guards=[needs(Role.ADMIN)],
    responses=problems.documented(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_deeds(
    farm: NamedDependency[SkipValidation[Farm]], cursor: Cursor = "", limit: Limit = PAGE
) -> AuditPage:
    """List what was done to the farm, newest first; what agents do is no part of it."""
    before = before_number(cursor)
    return await farm.reader.read(lambda c: audit.page(c, before, limit))


ROUTES: tuple[Any, ...] = (list_deeds,)
