"""Liveness, readiness and metrics of the master."""

import asyncio
from http import HTTPStatus
from typing import Any

from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ServiceUnavailableException
from litestar.params import SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import OPEN, Call
from ffrtmp_master.auth.authorization import require_role
from ffrtmp_master.background.readiness import NotReadyError
from ffrtmp_master.services import Services

_TEXT = "text/plain"
_CHARSET = "; charset=utf-8"


@get("/healthz", opt=OPEN, security=[])
async def healthz() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "alive"}


@get(
    "/readyz",
    opt=OPEN,
    security=[],
    responses=problems.document_problems(HTTPStatus.SERVICE_UNAVAILABLE),
)
async def readyz(services: NamedDependency[SkipValidation[Services]]) -> dict[str, str]:
    """Report whether the master can serve requests.

    The master is ready if its database can be read and written and has the current schema, and if
    the loops that leases depend on have completed recently. The result is up to a second old.
    """
    if services.parked_claims.is_closed:
        raise ServiceUnavailableException("the master is stopping")
    try:
        revision = await services.readiness.check()
    except NotReadyError as error:
        raise ServiceUnavailableException(str(error)) from error
    return {"status": "ready", "schema": revision}


@get(
    "/metrics",
    guards=[require_role(*permissions.READ_METRICS)],
    media_type=MediaType.TEXT,
    responses=problems.document_problems(),
)
async def metrics(
    request: Call, services: NamedDependency[SkipValidation[Services]]
) -> Response[bytes]:
    """Return the metrics of the master in the OpenMetrics or Prometheus text format."""
    accepted = request.headers.get("accept", "")
    page, content_type = await asyncio.to_thread(services.metric_page.render, accepted)
    # Litestar appends the charset to the media type text/plain, but not to other media types.
    is_text = content_type.startswith(_TEXT)
    media_type = content_type.removesuffix(_CHARSET) if is_text else content_type
    return Response(page, media_type=media_type)


ROUTES: tuple[Any, ...] = (healthz, readyz, metrics)
