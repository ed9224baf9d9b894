"""The ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import ffrtmp_shared
from litestar import Litestar, Response, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ffrtmp_master.api import (
    artifacts,
    audit,
    discovery,
    events,
    exports,
    health,
    index,
    jobs,
    logs,
    nodes,
    prices,
    problems,
    request_validation,
    results,
    runs,
    sources,
    tokens,
)
from ffrtmp_master.auth import authentication
from ffrtmp_master.server import allowed_methods, fast_path, openapi, request_bounds, request_ids
from ffrtmp_master.server.body_budget import BodyBudget, with_body_budget
from ffrtmp_master.services import Services

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class ServicesHolder:
    """Holds the services of an application. They may be replaced while it is stopped."""

    services: Services


def create_app(services: Services) -> ASGIApp:
    """Return the application that serves `services` and runs them from startup to shutdown."""
    return with_fast_endpoints(build_framework(ServicesHolder(services)), services)


def with_fast_endpoints(framework: Litestar, services: Services) -> ASGIApp:
    """Return an application with the fast-path endpoints in front of the framework."""
    served = fast_path.with_fast_path(allowed_methods.with_allowed_methods(framework), services)
    budget = BodyBudget(services.settings.bodies_max_bytes)
    return request_ids.with_request_ids(with_body_budget(served, budget))


def build_framework(served: ServicesHolder) -> Litestar:
    """Return the framework application, which serves all endpoints that are not on the fast path.

    Building the application is slow. Therefore, tests build it once and replace the services in
    `served` for each test.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        app.state.services = served.services
        async with served.services.running():
            yield

    def provide_services() -> Services:
        return served.services

    def timing(app: ASGIApp) -> ASGIApp:
        async def timed(scope: Scope, receive: Receive, send: Send) -> None:
            await served.services.metrics.time(app, scope, receive, send)

        return timed

    async def count_answer(message: Message, scope: Scope) -> None:
        served.services.metrics.count_answer(message, scope)

    wire_types = openapi.WireTypes()
    document = openapi.Document(wire_types)

    return Litestar(
        route_handlers=[
            *index.ROUTES,
            *health.ROUTES,
            *runs.ROUTES,
            *jobs.ROUTES,
            *logs.ROUTES,
            *events.ROUTES,
            *results.ROUTES,
            *exports.ROUTES,
            *artifacts.ROUTES,
            *nodes.ROUTES,
            *sources.ROUTES,
            *discovery.ROUTES,
            *prices.ROUTES,
            *tokens.ROUTES,
            *audit.ROUTES,
        ],
        lifespan=[lifespan],
        state=State({"services": served.services}),
        dependencies={"services": Provide(provide_services, sync_to_thread=False)},
        middleware=[timing, request_ids.set_request_id, authentication.BearerAuthentication],
        before_send=[count_answer],
        exception_handlers=problems.HANDLERS,
        request_max_body_size=request_bounds.MAX_BODY_BYTES,
        logging_config=None,
        before_request=request_validation.check,
        plugins=[wire_types],
        openapi_config=OpenAPIConfig(
            title="ffmpeg-rtmp master",
            version=ffrtmp_shared.__version__,
            description="Job queue, node registry and results of an FFmpeg benchmark farm.",
            use_handler_docstrings=True,
            components=Components(
                security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
            ),
            security=[{"token": []}],
            render_plugins=[openapi.HtmlDocument(document), openapi.JsonDocument(document)],
            openapi_router=Router(
                path="/schema",
                include_in_schema=False,
                route_handlers=[],
                # Browsers request the page without a token. The page contains no data of the farm.
                opt=authentication.OPEN,
                after_request=_raise_not_found,
                response_headers=_PAGE_HEADERS,
            ),
        ),
    )


def _raise_not_found(response: Response[Any]) -> Response[Any]:
    """Raise NotFoundException for a missing page, so that a problem document is returned."""
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise NotFoundException
    return response
