"""Whether the master lives, whether it can serve, and its metrics."""

from http import HTTPStatus
from typing import Any

from ffrtmp_shared.models import Node, Role
from ffrtmp_shared.states import JobState
from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ServiceUnavailableException
from litestar.params import SkipValidation
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master import problems
from ffrtmp_master.access import OPEN, needs
from ffrtmp_master.farm import Farm
from ffrtmp_master.store import jobs, migrate, nodes, results


@get("/healthz", opt=OPEN, security=[])
async def healthz() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "alive"}


@get(
    "/readyz",
    opt=OPEN,
    security=[],
    responses=problems.documented(HTTPStatus.SERVICE_UNAVAILABLE),
)
async def readyz(farm: NamedDependency[SkipValidation[Farm]]) -> dict[str, str]:
    """Say whether the master can serve: the database answers and its schema is current."""
    if farm.waiting.is_closed:
        raise ServiceUnavailableException("the master is stopping")
    try:
        revision = await farm.reader.read(migrate.revision)
    except SQLAlchemyError as error:
        raise ServiceUnavailableException("the database does not answer") from error
    if revision != migrate.head():
        raise ServiceUnavailableException(
            f"the schema is at {revision}, not at {migrate.head()}; run ffrtmp-master migrate"
        )
    return {"status": "ready", "schema": revision}


@get(
    "/metrics",
    guards=[needs(Role.VIEWER)],
    media_type=MediaType.TEXT,
    responses=problems.documented(),
)
async def metrics(farm: NamedDependency[SkipValidation[Farm]]) -> Response[bytes]:
    """Give the master's metrics in Prometheus' text form."""

    def counted(connection: Connection) -> tuple[dict[JobState, int], tuple[Node, ...], int]:
        now, offline_s = farm.clock(), farm.settings.node_offline_s
        return (
            jobs.depth(connection),
            nodes.every(connection, now, offline_s),
            results.count(connection),
        )

    found = await farm.reader.read(counted)
    return Response(
        farm.metrics.render(*found, parked=len(farm.waiting)), media_type=CONTENT_TYPE_LATEST
    )


ROUTES: tuple[Any, ...] = (healthz, readyz, metrics)
