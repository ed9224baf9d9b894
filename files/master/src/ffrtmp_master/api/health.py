"""Whether the master lives, whether it can serve, and its metrics."""

import asyncio
from http import HTTPStatus
from typing import Any

from ffrtmp_shared.models import Role
from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ServiceUnavailableException
from litestar.params import SkipValidation
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.api import problems
from ffrtmp_master.auth.authentication import OPEN, Call, require_role
from ffrtmp_master.services import Services
from ffrtmp_master.store import migrate
from ffrtmp_master.telemetry import snapshot
from ffrtmp_master.telemetry.metrics import OPENMETRICS, TEXT

_CHARSET = "; charset=utf-8"


@get("/healthz", opt=OPEN, security=[])
async def healthz() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "alive"}


@get(
    "/readyz",
    opt=OPEN,
    security=[],
    responses=problems.document_problems(HTTPStatus.SERVICE_UNAVAILABLE),
)
async def readyz(services: NamedDependency[SkipValidation[Services]]) -> dict[str, str]:
    """Say whether the master can serve: the database answers and its schema is current."""
    if services.parked_claims.is_closed:
        raise ServiceUnavailableException("the master is stopping")
    try:
        revision = await services.reader.read(migrate.revision)
    except SQLAlchemyError as error:
        raise ServiceUnavailableException("the database does not answer") from error
    if revision != migrate.head():
        raise ServiceUnavailableException(
            f"the schema is at {revision}, not at {migrate.head()}; run ffrtmp-master migrate"
        )
    return {"status": "ready", "schema": revision}


@get(
    "/metrics",
    guards=[require_role(Role.VIEWER)],
    media_type=MediaType.TEXT,
    responses=problems.document_problems(),
)
async def metrics(
    request: Call, services: NamedDependency[SkipValidation[Services]]
) -> Response[bytes]:
    """Give the master's metrics, as OpenMetrics or in Prometheus' text form."""
    found = list(snapshot.snapshot_metrics(await snapshot.take_snapshot(services.snapshot_sources)))
    page, content_type = await asyncio.to_thread(services.metrics.render, found, _accepted(request))
    # Litestar adds to plain text, and to nothing else, which characters it is made of.
    is_text = content_type.startswith(TEXT)
    media_type = content_type.removesuffix(_CHARSET) if is_text else content_type
    return Response(page, media_type=media_type)


def _accepted(request: Call) -> str:
    try:
        return request.accept.best_match([TEXT, OPENMETRICS], default=TEXT)
    except (ValueError, OverflowError):
        # A quality that is no number, or too large for one.
        return TEXT


ROUTES: tuple[Any, ...] = (healthz, readyz, metrics)
