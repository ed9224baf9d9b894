"""Errors as their caller sees them: RFC 9457 problem documents, whatever went wrong."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from ffrtmp_shared.models import Problem
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap
from sqlalchemy.exc import OperationalError

from ffrtmp_master.store.refusals import (
    ConflictError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UnacceptableError,
)
from ffrtmp_master.store.writer import WriterClosedError

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_STATUS: Mapping[type[RefusedError], HTTPStatus] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    UnacceptableError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}

_ALWAYS = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

_AnyRequest = Request[Any, Any, Any]


def answer(
    status: int,
    detail: str,
    errors: Sequence[str] = (),
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    """Return a problem document."""
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=tuple(errors),
    )
    return Response(
        msgspec.json.encode(problem), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def documented(*statuses: HTTPStatus) -> dict[int, ResponseSpec]:
    """Describe for OpenAPI which problems a route answers with, besides 400, 401 and 403."""
    return {
        int(status): ResponseSpec(
            Problem,
            description=status.phrase,
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
        for status in (*_ALWAYS, *statuses)
    }


def _refused(_request: _AnyRequest, error: RefusedError) -> Response[bytes]:
    errors = error.errors if isinstance(error, UnacceptableError) else ()
    return answer(_STATUS[type(error)], str(error), errors)


def _http(_request: _AnyRequest, error: HTTPException) -> Response[bytes]:
    return answer(error.status_code, error.detail, _details(error.extra), error.headers)


def _details(extra: object) -> list[str]:
    """Turn what Litestar says of each wrong field into one line a field."""
    if not isinstance(extra, list):
        return []
    return [
        f"{item['key']}: {item['message']}" if item.get("key") else str(item["message"])
        for item in extra
        if isinstance(item, dict) and "message" in item
    ]


def _stopping(_request: _AnyRequest, _error: WriterClosedError) -> Response[bytes]:
    return answer(
        HTTPStatus.SERVICE_UNAVAILABLE, "the master is stopping", headers={"Retry-After": "5"}
    )


def _database(request: _AnyRequest, error: OperationalError) -> Response[bytes]:
    _log.error(
        "the database refused an operation",
        exc_info=error,
        extra={"method": request.method, "path": request.url.path},
    )
    return answer(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database cannot be used now; the master's log says why",
        headers={"Retry-After": "5"},
    )


def _unexpected(request: _AnyRequest, error: Exception) -> Response[bytes]:
    _log.error(
        "a request failed unexpectedly",
        exc_info=error,
        extra={"method": request.method, "path": request.url.path},
    )
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the master failed; its log says how and where")


HANDLERS: ExceptionHandlersMap = {
    RefusedError: _refused,
    HTTPException: _http,
    WriterClosedError: _stopping,
    OperationalError: _database,
    Exception: _unexpected,
}
"""Which error becomes which answer."""
