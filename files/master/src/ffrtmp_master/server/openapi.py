"""The OpenAPI document: the routes of the framework, completed by this module.

The framework describes only its own routes, so the fast-path endpoints are added. The schemas of
types come from msgspec, which also validates requests. Every operation lists the error responses
that are common to all operations.
"""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import msgspec
from ffrtmp_shared.models import Problem
from litestar.enums import MediaType
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from ffrtmp_master.api import agent_endpoints, problems
from ffrtmp_master.server.docs_page import render_page

if TYPE_CHECKING:
    from litestar import Request
    from litestar._openapi.schema_generation import SchemaCreator

_Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"

# Rules between fields, which the schemas of msgspec cannot express.
_RULES: dict[str, _Json] = {
    "RatePoint": {
        "oneOf": [
            {"required": ["crf"], "properties": {"crf": {"type": "number"}}},
            {"required": ["bitrate_kbps"], "properties": {"bitrate_kbps": {"type": "integer"}}},
        ]
    },
    "TokenRequest": {
        "oneOf": [
            {
                "required": ["node"],
                "properties": {"role": {"const": "agent"}, "node": {"type": "string"}},
            },
            {"properties": {"role": {"not": {"const": "agent"}}, "node": {"type": "null"}}},
        ]
    },
}

_RETRY_STATUSES = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class WireTypes(OpenAPISchemaPlugin):
    """Makes the framework refer to wire types by name, and records those that it refers to."""

    def __init__(self) -> None:
        """Start without any types."""
        self.used: dict[str, type[msgspec.Struct]] = {}

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Return whether the type of a field is a wire type."""
        return not field_definition.is_union and field_definition.is_subclass_of(msgspec.Struct)

    def to_openapi_schema(
        self, field_definition: FieldDefinition, schema_creator: "SchemaCreator"
    ) -> Schema:
        """Return an empty schema, which `Document` replaces by that of the type."""
        wire_type: type[msgspec.Struct] = field_definition.annotation
        self.used[wire_type.__name__] = wire_type
        return schema_creator.create_component_schema(
            field_definition, required=[], property_fields={}
        )


class Document:
    """The complete document, built once."""

    def __init__(self, types: WireTypes) -> None:
        """Create the document; `types` collects the types that the framework refers to."""
        self._types = types
        self._cached: _Json | None = None

    def complete(self, generated: _Json) -> _Json:
        """Return the document that the framework generated with the missing parts added."""
        if self._cached is None:
            self._cached = _completed(generated, self._types.used.values())
        return self._cached


class JsonDocument(JsonRenderPlugin):
    """Serves the document as JSON."""

    def __init__(self, document: Document) -> None:
        """Create the plugin for `document`."""
        super().__init__()
        self._document = document

    def render(self, request: "Request[Any, Any, Any]", openapi_schema: _Json) -> bytes:
        """Return the document as JSON."""
        plain = msgspec.json.decode(self.render_json(request, openapi_schema))
        return msgspec.json.encode(self._document.complete(plain))


class HtmlDocument(OpenAPIRenderPlugin):
    """Serves the self-contained reference page."""

    def __init__(self, document: Document) -> None:
        """Create the plugin for `document`."""
        super().__init__(path="/", media_type=MediaType.HTML)
        self._document = document

    def render(self, request: "Request[Any, Any, Any]", openapi_schema: _Json) -> bytes:
        """Return the document as HTML."""
        plain = msgspec.json.decode(self.render_json(request, openapi_schema))
        return render_page(self._document.complete(plain)).encode()


def _completed(generated: _Json, used: Iterable[type[msgspec.Struct]]) -> _Json:
    paths: _Json = generated["paths"]
    for endpoint in agent_endpoints.ENDPOINTS:
        paths.setdefault(endpoint.route, {})["post"] = _operation(endpoint)
    for path, operations in paths.items():
        for method, operation in operations.items():
            responses = operation["responses"]
            for status in _general(path, method, operation):
                responses[str(int(status))] = _problem(status)
            for parameter in operation.get("parameters", ()):
                _without_null(parameter)
            if method == "head":
                # A response to HEAD has the headers of a download, but no content.
                responses["200"].pop("content", None)
            operation["responses"] = dict(sorted(responses.items()))
    generated["paths"] = dict(sorted(paths.items()))
    generated["components"]["schemas"].update(_schemas(used))
    return generated


def _operation(endpoint: agent_endpoints.Endpoint[Any]) -> _Json:
    """Return the operation of a fast-path endpoint."""
    parameters: list[_Json] = []
    if "{job_id}" in endpoint.route:
        uuid = {"type": "string", "format": "uuid"}
        parameters.append({"name": "job_id", "in": "path", "required": True, "schema": uuid})
    if endpoint.takes_key:
        key = {"type": "string", "minLength": 1, "maxLength": agent_endpoints.KEY_MAX}
        parameters.append(
            {"name": "Idempotency-Key", "in": "header", "required": False, "schema": key}
        )
    responses = {str(int(status)): _problem(status) for status in endpoint.problems}
    for status, answer in endpoint.answers.items():
        response: _Json = {"description": status.description or status.phrase}
        if answer is not None:
            response["content"] = _content("application/json", answer)
        responses[str(int(status))] = response
    name = endpoint.handler.__name__.strip("_").title()
    return {
        "operationId": f"{name}Job" if name != "Claim" else "ClaimJob",
        "summary": name,
        "description": endpoint.summary,
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": _content("application/json", endpoint.body),
        },
        "responses": responses,
    }


def _general(path: str, method: str, operation: _Json) -> Iterator[HTTPStatus]:
    """Yield the error statuses that any operation of this kind can return."""
    # Every operation rejects unknown query parameters.
    yield HTTPStatus.BAD_REQUEST
    if operation.get("security") == []:
        return
    yield from (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, *_RETRY_STATUSES)
    if "{" in path:
        yield HTTPStatus.NOT_FOUND
    if method not in ("get", "head"):
        yield HTTPStatus.INSUFFICIENT_STORAGE
    if "requestBody" in operation:
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if "application/json" in operation["requestBody"]["content"]:
            yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def _problem(status: HTTPStatus) -> _Json:
    response: _Json = {
        "description": status.phrase,
        "content": _content(problems.MEDIA_TYPE, Problem),
    }
    if status in _RETRY_STATUSES:
        response["headers"] = {
            "Retry-After": {
                "description": "the number of seconds after which to retry",
                "schema": {"type": "string", "pattern": "^[0-9]+$"},
            }
        }
    return response


def _without_null(parameter: _Json) -> None:
    """Remove null from the schema of an optional parameter: its value is always text."""
    schema = parameter["schema"]
    options = [option for option in schema.get("oneOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        del schema["oneOf"]
        parameter["schema"] = {**options[0], **schema}


def _content(media_type: str, wire_type: type[msgspec.Struct]) -> _Json:
    return {media_type: {"schema": {"$ref": _REFERENCE.format(name=wire_type.__name__)}}}


def _schemas(used: Iterable[type[msgspec.Struct]]) -> _Json:
    """Return the schemas of all types that the document refers to."""
    types: set[type[msgspec.Struct]] = {Problem, *used}
    for endpoint in agent_endpoints.ENDPOINTS:
        types.add(endpoint.body)
        types.update(answer for answer in endpoint.answers.values() if answer is not None)
    _, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    for name, schema in schemas.items():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
        schema.update(_RULES.get(name, {}))
    return dict(sorted(schemas.items()))
