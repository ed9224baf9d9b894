"""The ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import ffrtmp_shared
from ffrtmp_shared.models import Role
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from ffrtmp_master import access, problems
from ffrtmp_master.api import (
    artifacts,
    discovery,
    health,
    hot,
    jobs,
    nodes,
    results,
    runs,
    sources,
)
from ffrtmp_master.farm import Farm

_MAX_BODY_BYTES = 8 * 1024 * 1024


def create(farm: Farm) -> ASGIApp:
    """Return the application that serves `farm` and runs it from startup to shutdown."""
    return hot.in_front_of(_framework(farm), farm)


def _framework(farm: Farm) -> Litestar:
    """Return the application behind the hot calls."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        async with farm.running():
            yield

    def provide_farm() -> Farm:
        return farm

    return Litestar(
        route_handlers=[
            *health.ROUTES,
            *runs.ROUTES,
            *jobs.ROUTES,
            *results.ROUTES,
            *artifacts.ROUTES,
            *nodes.ROUTES,
            *sources.ROUTES,
            *discovery.ROUTES,
        ],
        lifespan=[lifespan],
        state=State({"farm": farm}),
        dependencies={"farm": Provide(provide_farm, sync_to_thread=False)},
        middleware=[farm.metrics.timing, access.BearerAuthentication],
        before_send=[farm.metrics.count_answer],
        exception_handlers=problems.HANDLERS,
        request_max_body_size=_MAX_BODY_BYTES,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="ffmpeg-rtmp master",
            version=ffrtmp_shared.__version__,
            description="Job queue, node registry and results of an FFmpeg benchmark farm.",
            use_handler_docstrings=True,
            components=Components(
                security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
            ),
            security=[{"token": []}],
            render_plugins=[JsonRenderPlugin()],
            openapi_router=Router(
                path="/schema",
                include_in_schema=False,
                route_handlers=[],
                guards=[access.needs(Role.VIEWER)],
            ),
        ),
    )
