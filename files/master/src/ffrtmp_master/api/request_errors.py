"""Errors of the framework about a request, in terms of what the client has sent."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

from litestar import Request
from litestar.exceptions import HTTPException, NotFoundException, ValidationException
from litestar.params import ParameterKwarg
from litestar.typing import FieldDefinition

from ffrtmp_master.api.field_errors import describe_field, describe_missing, describe_parameter

_BODY = "data"
_SHOWN_MAX = 256
_MISSING = re.compile(r"Missing required \w+ parameter '(?P<name>[^']+)'")
_RULES = {UUID: "a UUID", int: "a whole number"}

_AnyRequest = Request[Any, Any, Any]


class _Item(NamedTuple):
    """One error of a request as the client gets it, and whether it is about the body."""

    content: dict[str, Any]
    is_of_body: bool = False


def explain_error(request: _AnyRequest, error: Exception) -> Exception:
    """Return an error that names parameters as the client sends them, and what is allowed.

    The framework names the parameters of the function that handles the request, which have other
    names than some parameters of the API. It describes a path that matches no route only as "Not
    Found", even if only an id in it is malformed.

    Args:
        request: The request.
        error: The exception that it raised. Any other exception is returned unchanged.
    """
    handler = request.scope.get("route_handler")
    if isinstance(error, ValidationException) and handler is not None:
        fields = handler.parsed_fn_signature.parameters
        missing = _MISSING.match(error.detail)
        given = error.extra if isinstance(error.extra, list) else []
        items = (
            [_explained(fields, item) for item in given if isinstance(item, dict)]
            if missing is None
            else [_Item(_missing_parameter(fields, missing["name"]))]
        )
        if items:
            subject = "body" if all(item.is_of_body for item in items) else "request"
            return HTTPException(
                f"the {subject} is not valid",
                status_code=error.status_code,
                extra=[item.content for item in items],
            )
    is_generic = (
        isinstance(error, NotFoundException) and error.detail == HTTPStatus.NOT_FOUND.phrase
    )
    return NotFoundException(_nothing_at(request)) if is_generic else error


def _explained(fields: Mapping[str, FieldDefinition], item: Mapping[str, Any]) -> _Item:
    """Return an error of the framework with the name of the parameter, and the allowed values."""
    key, message = str(item.get("key") or ""), str(item.get("message") or "")
    field = fields.get(key)
    if field is not None and isinstance(field.kwarg_definition, ParameterKwarg) and key != _BODY:
        name = field.kwarg_definition.name or key
        return _Item({"key": name, "message": describe_parameter(field.annotation, message)})
    if _BODY in fields and (item.get("source") == "body" or key == _BODY):
        path = "" if key == _BODY else key
        described = describe_field(fields[_BODY].annotation, path, message)
        return _Item({"key": path, "message": described}, is_of_body=True)
    return _Item(dict(item))


def _missing_parameter(fields: Mapping[str, FieldDefinition], name: str) -> dict[str, Any]:
    for key, field in fields.items():
        if name == (getattr(field.kwarg_definition, "name", None) or key):
            return {"key": name, "message": describe_missing(field.annotation)}
    return {"key": name, "message": "is missing"}


def _nothing_at(request: _AnyRequest) -> str:
    """Return a description of what a path names that matches no route."""
    path = request.url.path
    parts = path.strip("/").split("/")
    for route in request.app.routes:
        mismatch = _mismatch(getattr(route, "path_components", ()), parts)
        if mismatch:
            return mismatch
    return f"there is nothing at {path[:_SHOWN_MAX]}; /schema describes all paths"


def _mismatch(components: Iterable[Any], parts: list[str]) -> str:
    """Return which part of a path a route does not accept, or "" if it is not that of the route."""
    expected = list(components)
    if len(expected) != len(parts):
        return ""
    found = ""
    for number, (component, part) in enumerate(zip(expected, parts, strict=True)):
        if isinstance(component, str):
            if component != part:
                return ""
        elif not found and component.type in _RULES and not _is_of(component.type, part):
            noun = str(expected[number - 1]).removesuffix("s") if number else component.name
            rule = _RULES[component.type]
            found = f"there is no {noun} {part[:_SHOWN_MAX]!r}: its id is {rule}"
    return found


def _is_of(wanted: type, text: str) -> bool:
    try:
        wanted(text)
    except ValueError:
        return False
    return True
