"""The audit log of administrative actions."""

from http import HTTPStatus
from typing import Any

from ffrtmp_shared.admin import AuditPage
from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.api.pagination import PAGE, Cursor, Limit, before_number
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import audit


@get(
    "/v1/audit",
    guards=[require_role(*permissions.LIST_AUDIT_ENTRIES)],
    responses=problems.document_problems(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_audit_entries(
    services: NamedDependency[SkipValidation[Services]], cursor: Cursor = "", limit: Limit = PAGE
) -> AuditPage:
    """List the entries of the audit log, newest first. Requests by agents are not recorded."""
    before = before_number(cursor)
    return await services.reader.read(lambda c: audit.page_of_entries(c, before, limit))


ROUTES: tuple[Any, ...] = (list_audit_entries,)
