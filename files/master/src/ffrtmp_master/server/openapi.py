"""The OpenAPI document: what the framework finds out, completed by what only this program knows.

The framework describes its own routes. The hot calls stand in front of it, so they are added; the
types' schemas are msgspec's own, which checks what comes in; and every operation lists what any
call can be answered with, whatever it does.
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

# What msgspec's schema of a type cannot say: rules between its fields.
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

_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class WireTypes(OpenAPISchemaPlugin):
    """Has the framework refer to the types of the wire, and remembers which it refers to."""

    def __init__(self) -> None:
        """Know of none yet."""
        self.used: dict[str, type[msgspec.Struct]] = {}

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Return whether a field is of such a type."""
        return not field_definition.is_union and field_definition.is_subclass_of(msgspec.Struct)

    def to_openapi_schema(
        self, field_definition: FieldDefinition, schema_creator: "SchemaCreator"
    ) -> Schema:
        """Return an empty schema, in whose place the type's own is put when all are known."""
        wire_type: type[msgspec.Struct] = field_definition.annotation
        self.used[wire_type.__name__] = wire_type
        return schema_creator.create_component_schema(
            field_definition, required=[], property_fields={}
        )


class Document:
    """The whole document, made once."""

    def __init__(self, types: WireTypes) -> None:
        """Prepare to complete what refers to `types`."""
        self._types = types
        self._made: _Json | None = None

    def complete(self, generated: _Json) -> _Json:
        """Complete what the framework has generated."""
        if self._made is None:
            self._made = _completed(generated, self._types.used.values())
        return self._made


class JsonDocument(JsonRenderPlugin):
    """Serves the document."""

    def __init__(self, document: Document) -> None:
        """Serve `document`."""
        super().__init__()
        self._document = document

    def render(self, request: "Request[Any, Any, Any]", openapi_schema: _Json) -> bytes:
        """Return the document as JSON."""
        plain = msgspec.json.decode(self.render_json(request, openapi_schema))
        return msgspec.json.encode(self._document.complete(plain))


class HtmlDocument(OpenAPIRenderPlugin):
    """Serves a page for people that needs nothing from anywhere else."""

    def __init__(self, document: Document) -> None:
        """Show `document`."""
        super().__init__(path="/", media_type=MediaType.HTML)
        self._document = document

    def render(self, request: "Request[Any, Any, Any]", openapi_schema: _Json) -> bytes:
        """Return the page."""
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
                # It has the headers of what it is not sent.
                responses["200"].pop("content", None)
            operation["responses"] = dict(sorted(responses.items()))
    generated["paths"] = dict(sorted(paths.items()))
    generated["components"]["schemas"].update(_schemas(used))
    return generated


def _operation(endpoint: agent_endpoints.Endpoint[Any]) -> _Json:
    """Describe a hot call."""
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
    """Give what any operation of this kind may be answered with."""
    # A parameter that is not known is refused everywhere.
    yield HTTPStatus.BAD_REQUEST
    if operation.get("security") == []:
        return
    yield from (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, *_LATER)
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
    if status in _LATER:
        response["headers"] = {
            "Retry-After": {
                "description": "seconds after which to ask again",
                "schema": {"type": "string", "pattern": "^[0-9]+$"},
            }
        }
    return response


def _without_null(parameter: _Json) -> None:
    """Say of a parameter that may be missing only what it is when it is there: text, never null."""
    schema = parameter["schema"]
    kinds = [one for one in schema.get("oneOf", ()) if one.get("type") != "null"]
    if len(kinds) == 1:
        del schema["oneOf"]
        parameter["schema"] = {**kinds[0], **schema}


def _content(media_type: str, wire_type: type[msgspec.Struct]) -> _Json:
    return {media_type: {"schema": {"$ref": _REFERENCE.format(name=wire_type.__name__)}}}


def _schemas(used: Iterable[type[msgspec.Struct]]) -> _Json:
    """Return the schemas of all types that the document refers to, as msgspec has them."""
    wanted: set[type[msgspec.Struct]] = {Problem, *used}
    for endpoint in agent_endpoints.ENDPOINTS:
        wanted.add(endpoint.body)
        wanted.update(one for one in endpoint.answers.values() if one is not None)
    _, schemas = msgspec.json.schema_components(wanted, ref_template=_REFERENCE)
    for name, schema in schemas.items():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
        schema.update(_RULES.get(name, {}))
    return dict(sorted(schemas.items()))
