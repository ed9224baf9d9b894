"""Error responses. The body of every error response is an RFC 9457 problem document."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from ffrtmp_shared import value_rules
from ffrtmp_shared.models import Problem
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ffrtmp_master.api.request_errors import explain_error
from ffrtmp_master.store.availability import WriterClosedError, is_full, is_read_only
from ffrtmp_master.store.errors import (
    BusyError,
    ConflictError,
    InsufficientSpaceError,
    NotFoundError,
    RequestError,
    TooLargeError,
    UnprocessableError,
)

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_STATUS: Mapping[type[RequestError], HTTPStatus] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    UnprocessableError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BusyError: HTTPStatus.TOO_MANY_REQUESTS,
    InsufficientSpaceError: HTTPStatus.INSUFFICIENT_STORAGE,
}

# Every request contains text, which may break the rules for text (422).
_GENERAL = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)

_BAD_TEXT = "the request contains text that is not accepted"

_RETRY_LATER = {"Retry-After": "5"}

# Longer paths are truncated in the log, because clients can send paths of any length.
_LOGGED_PATH_MAX = 256

_AnyRequest = Request[Any, Any, Any]


class ProblemResponse(NamedTuple):
    """An error response with its status, problem document as JSON, and additional headers."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def make_problem(
    status: int, detail: str, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> ProblemResponse:
    """Return a problem document.

    Args:
        status: The HTTP status.
        detail: A description of the error.
        errors: One message for each invalid field.
        headers: Additional headers of the response.

    Returns:
        The encoded document with its status and headers.
    """
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=tuple(errors),
    )
    return ProblemResponse(status, msgspec.json.encode(problem), headers or {})


def problem_of(error: Exception, method: str, path: str) -> ProblemResponse:
    """Return the error response for an exception, and log it.

    Args:
        error: The exception that the request raised.
        method: The method of the request.
        path: The path of the request.

    Returns:
        The problem document with its status and headers.
    """
    found = _of(error, method, path)
    level = _level(error, method, found.status)
    if level is not None and _log.isEnabledFor(level):
        document = msgspec.json.decode(found.body, type=Problem)
        request = {"method": method, "path": path[:_LOGGED_PATH_MAX], "status": found.status}
        _log.log(level, "a request was refused: %s", document.detail, extra=request)
    return found


def _level(error: Exception, method: str, status: int) -> int | None:
    """Return the log level for an error response, or None if the error was already logged."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return logging.WARNING
    # If the master is shutting down, nothing is wrong with the request. If a client sends too many
    # requests, logging each of them would add to the load.
    if isinstance(error, WriterClosedError) or status == HTTPStatus.TOO_MANY_REQUESTS:
        return logging.DEBUG
    if status == HTTPStatus.INSUFFICIENT_STORAGE:
        return logging.ERROR
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.WARNING if isinstance(error, HTTPException) else None
    # A failed read request concerns only the client, because it changes nothing.
    return logging.DEBUG if method in ("GET", "HEAD") else logging.INFO


def _of(error: Exception, method: str, path: str) -> ProblemResponse:
    match error:
        case RequestError():
            errors = error.errors if isinstance(error, UnprocessableError) else ()
            headers = _retry_after(error) if isinstance(error, BusyError) else None
            return make_problem(_STATUS[type(error)], str(error), errors, headers)
        case HTTPException():
            return _of_framework(error)
        case value_rules.TextFaultError() | UnicodeDecodeError() | RecursionError():
            return _of_content(error)
        case WriterClosedError():
            return make_problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "the master is stopping", headers=_RETRY_LATER
            )
        case DBAPIError() | OSError() if is_full(error):
            return make_problem(
                HTTPStatus.INSUFFICIENT_STORAGE,
                "the disk of the master is full; stored data is not affected",
            )
        case _:
            return _unexpected(error, method, path)


def _retry_after(error: BusyError) -> dict[str, str]:
    return {"Retry-After": str(error.retry_after_s)}


def _of_framework(error: HTTPException) -> ProblemResponse:
    """Return the response for an error of the framework or of a decoder.

    The response is 422 if the error is only about text that breaks the rules. Its messages name the
    field and the rule, but do not contain the text.
    """
    found = _details(error.extra)
    rules = [value_rules.explain_mismatch(message) for _, message in found]
    errors = [
        f"{field}: {rule or message}" if field else rule or message
        for (field, message), rule in zip(found, rules, strict=True)
    ]
    if error.status_code == HTTPStatus.BAD_REQUEST and rules and all(rules):
        return make_problem(HTTPStatus.UNPROCESSABLE_ENTITY, _BAD_TEXT, errors)
    return make_problem(error.status_code, error.detail, errors, error.headers)


def _of_content(error: Exception) -> ProblemResponse:
    """Return the response for a body that cannot be decoded or has text that breaks the rules."""
    if isinstance(error, value_rules.TextFaultError):
        return make_problem(HTTPStatus.UNPROCESSABLE_ENTITY, _BAD_TEXT, error.errors)
    if isinstance(error, UnicodeDecodeError):
        return make_problem(HTTPStatus.BAD_REQUEST, f"the body is not valid UTF-8: {error}")
    return make_problem(HTTPStatus.BAD_REQUEST, "the body is nested too deeply")


def _unexpected(error: Exception, method: str, path: str) -> ProblemResponse:
    is_unavailable = isinstance(
        error, OperationalError | InterfaceError | PoolTimeoutError
    ) or is_read_only(error)
    _log.error(
        "the database rejected an operation" if is_unavailable else "a request failed unexpectedly",
        exc_info=error,
        extra={"method": method, "path": path[:_LOGGED_PATH_MAX]},
    )
    if is_unavailable:
        state = "read-only" if is_read_only(error) else "unavailable"
        text = f"the database is {state}; see the log of the master for the cause"
        return make_problem(HTTPStatus.SERVICE_UNAVAILABLE, text, headers=_RETRY_LATER)
    return make_problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal error of the master; see its log for the cause"
    )


def document_problems(*statuses: HTTPStatus) -> dict[int, ResponseSpec]:
    """Return the OpenAPI responses of a route for `statuses` and for 400, 401 and 403."""
    return {
        int(status): ResponseSpec(
            Problem,
            description=status.phrase,
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
        for status in (*_GENERAL, *statuses)
    }


def _details(extra: object) -> list[tuple[str, str]]:
    """Return the name and the message of each invalid field that Litestar reports."""
    if not isinstance(extra, list):
        return []
    return [
        (str(item.get("key") or ""), str(item["message"]))
        for item in extra
        if isinstance(item, dict) and "message" in item
    ]


def _as_response(request: _AnyRequest, error: Exception) -> Response[bytes]:
    found = problem_of(explain_error(request, error), request.method, request.url.path)
    return Response(
        found.body, status_code=found.status, media_type=MEDIA_TYPE, headers=dict(found.headers)
    )


HANDLERS: ExceptionHandlersMap = {HTTPException: _as_response, Exception: _as_response}
"""The exception handlers, which convert every exception to a problem document."""
