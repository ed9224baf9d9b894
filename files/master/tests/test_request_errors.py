"""Tests that errors name what was sent and what is allowed, for every operation of the API."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import factories
import pytest
from ffrtmp_master.api.agent_endpoints import ENDPOINTS
from ffrtmp_master.api.field_errors import describe_field
from ffrtmp_shared.admin import TokenRequest
from ffrtmp_shared.models import JobUpdate, RunRequest
from ffrtmp_shared.node_models import NodeHeartbeat, NodeUpdate, Registration
from msgspec import inspect

_NO_ID = "00000000-0000-7000-8000-000000000000"
_VALID = {"name": "worker1", "sha256": "0" * 64, "attempt": "1", "exporter": "cpu"}
_CALLERS = ("admin", "worker1")
_BODIES = (
    *(endpoint.body for endpoint in ENDPOINTS),
    JobUpdate, NodeHeartbeat, NodeUpdate, Registration, RunRequest, TokenRequest,
)  # fmt: skip


# Bodies of operations whose headers are checked after the body.
_VALID_BODIES: dict[str, object] = {
    "/v1/jobs": factories.job("libx264"),
    "/v1/runs": {"suite": factories.suite()},
}
_REQUIRED = {"attempt": "1", "format": "csv"}


class Sent(NamedTuple):
    """A parameter of an operation as the OpenAPI document describes it, and a wrong value.

    `others` are the other parameters of the query that the operation requires.
    """

    method: str
    path: str
    name: str
    place: str
    schema: dict[str, Any]
    value: str
    others: dict[str, str]


def _operations(harness: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    document = harness.ok("viewer", "GET", "/schema/openapi.json")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


_WRONG_BY_FORMAT = {"uuid": ["no-such-id"], "date-time": ["yesterday"]}


def _wrong_values(schema: dict[str, Any]) -> list[str]:
    if "enum" in schema:
        return ["no-such-value"]
    if schema.get("format") in _WRONG_BY_FORMAT:
        return _WRONG_BY_FORMAT[schema["format"]]
    if schema["type"] == "integer":
        least, most = int(schema.get("minimum", 0)), int(schema["maximum"])
        return ["x", str(least - 1), str(most + 1)]
    if schema["type"] == "boolean":
        return ["maybe"]
    return ["-\x7f" + "x" * 600] if "pattern" in schema else ["x" * (schema["maxLength"] + 1)]


def _sent(harness: Any) -> Iterator[Sent]:
    for method, path, operation in _operations(harness):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            if "$ref" in schema:
                document = harness.ok("viewer", "GET", "/schema/openapi.json")
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            name, place = parameter["name"], parameter["in"]
            others = {
                other["name"]: _REQUIRED[other["name"]]
                for other in operation["parameters"]
                if other["required"] and other["in"] == "query" and other["name"] != name
            }
            for value in _wrong_values(schema):
                yield Sent(method, path, name, place, schema, value, others)


def _filled(path: str, **values: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: {**_VALID, **values}.get(match[1], _NO_ID), path)


def _call(harness: Any, sent: Sent) -> Any:
    """Return the response to the first caller that may call the operation."""
    value = quote(sent.value, safe="")
    path = _filled(sent.path, **({sent.name: value} if sent.place == "path" else {}))
    query = sent.others | ({sent.name: sent.value} if sent.place == "query" else {})
    headers = {sent.name: sent.value.encode()} if sent.place == "header" else {}
    has_body = sent.method in ("POST", "PUT", "PATCH")
    body = _VALID_BODIES.get(sent.path, {}) if has_body else None
    for caller in _CALLERS:
        answer = harness.call(caller, sent.method, path, body, params=query, headers=headers)
        if answer.status_code != 403:
            break
    return answer


def test_an_invalid_parameter_is_named_as_sent_with_what_is_allowed(ready_harness: Any) -> None:
    wrong, tried = [], 0
    for sent in _sent(ready_harness):
        answer = _call(ready_harness, sent)
        tried += 1
        if sent.method == "HEAD":
            is_right = answer.status_code in (400, 404, 422)
        elif sent.place == "path" and "pattern" not in sent.schema:
            # The value does not identify anything.
            document = answer.json()
            is_right = answer.status_code in (400, 404) and (
                repr(sent.value) in document["detail"]
                or any(error.startswith(f"{sent.name}: ") for error in document.get("errors", ()))
            )
        else:
            document = answer.json()
            errors = [*document.get("errors", ()), document["detail"]]
            named = [error for error in errors if error.startswith(f"{sent.name}: ")]
            allowed = [str(value) for value in sent.schema.get("enum", ())]
            is_right = (
                answer.status_code in (400, 422)
                and len(named) == 1
                and all(value in named[0] for value in allowed)
                and "Expected" not in named[0]
            )
        if not is_right:
            wrong.append(f"{sent[:4]} {sent.value!r:.40}: {answer.status_code} {answer.text}")
    assert tried > 70
    assert not wrong, "\n".join(wrong)


def test_a_missing_parameter_is_named_with_what_is_allowed(ready_harness: Any) -> None:
    tried = 0
    for method, path, operation in _operations(ready_harness):
        required = [
            parameter
            for parameter in operation.get("parameters", ())
            if parameter["required"] and parameter["in"] == "query"
        ]
        for parameter in required:
            empty = Sent(method, path, parameter["name"], "none", {}, "", {})
            document = _call(ready_harness, empty).json()
            assert f"{parameter['name']}: is missing" in document["errors"][0], (method, path)
            for value in parameter["schema"].get("enum", ()):
                assert value in document["errors"][0]
            tried += 1
    assert tried >= 3


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/jobs", "/v1/results", "/v1/audit"])
def test_a_cursor_of_another_list_is_named(harness: Any, path: str) -> None:
    answer = harness.call("admin", "GET", path, params={"cursor": "x.y"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("cursor: 'x.y' is not a cursor of this list")
    answer = harness.call("viewer", "GET", "/v1/events", headers={"Last-Event-ID": "x.y"})
    assert answer.json()["detail"].startswith("Last-Event-ID: 'x.y' is not a cursor")


def test_an_unknown_parameter_is_named_with_those_that_exist(ready_harness: Any) -> None:
    answer = ready_harness.call("viewer", "GET", "/v1/results?states=queued")
    assert answer.json()["errors"] == [
        "states: unknown query parameter; allowed are cursor, limit, run"
    ]
    answer = ready_harness.call("viewer", "GET", "/v1/nodes?state=active")
    assert answer.json()["errors"] == ["state: unknown query parameter; there are none here"]


def test_what_does_not_exist_is_named(ready_harness: Any) -> None:
    values = {"name": "worker9", "sha256": "9" * 64, "attempt": "9", "exporter": "tape"}
    tried = 0
    for method, path, _ in _operations(ready_harness):
        if method not in ("GET", "DELETE") or "{" not in path:
            continue
        answer = ready_harness.call("admin", method, _filled(path, **values))
        assert answer.status_code == 404, (method, path, answer.text)
        detail = answer.json()["detail"]
        assert detail.startswith("there is no ") or " has no " in detail, (method, path, detail)
        assert any(value in detail for value in (*values.values(), _NO_ID)), (path, detail)
        tried += 1
    assert tried >= 12


def test_lists_of_a_run_that_does_not_exist_are_refused(harness: Any) -> None:
    for path in ("/v1/jobs", "/v1/results", "/v1/events", "/v1/results/export?format=csv"):
        separator = "&" if "?" in path else "?"
        answer = harness.call("viewer", "GET", f"{path}{separator}run={_NO_ID}")
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"there is no run {_NO_ID}"


@pytest.mark.parametrize("caller", [None, "viewer"])
def test_the_root_leads_to_the_description(harness: Any, caller: str | None) -> None:
    index = harness.call(caller, "GET", "/").raise_for_status().json()
    assert harness.call(caller, "GET", index["openapi"]).json()["openapi"].startswith("3.")
    assert "<h2>Operations</h2>" in harness.call(caller, "GET", index["reference"]).text


@pytest.mark.parametrize("path", ["/v1/foo", "/v1/runs/x/y/z", "/schema/foo", "/v2/runs"])
def test_a_path_that_does_not_exist_leads_to_the_description(harness: Any, path: str) -> None:
    answer = harness.call("viewer", "GET", path)
    assert answer.status_code == 404
    assert answer.json()["detail"] == f"there is nothing at {path}; /schema describes all paths"
    long = harness.call("viewer", "GET", f"/{'x' * 5000}")
    assert len(long.content) < 500


def test_an_exporter_of_the_farm_is_known_before_a_node_runs_it(harness: Any) -> None:
    for name in ("cpu", "gpu", "ffmpeg", "docker_stats", "node"):
        assert harness.ok("viewer", "GET", f"/v1/sd/{name}") == []
    harness.register("worker1", exporters={"own": 9999})
    assert len(harness.ok("viewer", "GET", "/v1/sd/own")) == 1
    answer = harness.call("viewer", "GET", "/v1/sd/cpus")
    assert answer.json()["detail"] == (
        "there is no exporter 'cpus'; known are cpu, docker_stats, ffmpeg, gpu, node, own"
    )


def _choices(found: inspect.Type, path: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the path and the allowed values of each enumeration in a type."""
    match found:
        case inspect.UnionType():
            for member in found.types:
                yield from _choices(member, path)
        case inspect.Metadata():
            yield from _choices(found.type, path)
        case inspect.StructType():
            for field in found.fields:
                below = f"{path}.{field.encode_name}" if path else field.encode_name
                yield from _choices(field.type, below)
        case inspect.DictType():
            yield from _choices(found.value_type, f"{path}[...]")
        case inspect.ListType() | inspect.VarTupleType():
            yield from _choices(found.item_type, f"{path}[0]")
        case inspect.EnumType():
            yield path, [str(member.value) for member in found.cls]
        case inspect.LiteralType():
            yield path, [str(value) for value in found.values]


def test_every_enumeration_of_a_body_names_its_values() -> None:
    tried = 0
    for body in _BODIES:
        for path, values in _choices(inspect.type_info(body), ""):
            described = describe_field(body, path, "Invalid enum value 'x'")
            assert described.startswith("'x' is not known; allowed are "), (body, path)
            assert {*values} <= {*described.rpartition(" are ")[2].split(", ")}, (body, path)
            tried += 1
    assert tried >= 8


def test_the_bodies_are_all_of_the_api(harness: Any) -> None:
    references = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for _, _, operation in _operations(harness)
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert {reference.rpartition("/")[2] for reference in references} == {
        body.__name__ for body in _BODIES
    }


@pytest.mark.parametrize(
    ("call", "body", "error"),
    [
        (
            ("admin", "PATCH", "/v1/nodes/worker1"),
            {"state": "down"},
            "state: 'down' is not known; allowed are active, draining, offline",
        ),
        (
            ("admin", "PATCH", "/v1/nodes/worker1"),
            {"stat": "active"},
            "unknown field `stat`; allowed are state",
        ),
        (
            ("worker1", "POST", "/v1/claims"),
            {"node": "worker1", "slots": 1},
            "unknown field `slots`; allowed are node, slot, wait_s",
        ),
    ],
)
def test_an_invalid_field_is_named_with_what_is_allowed(
    ready_harness: Any, call: tuple[str, str, str], body: object, error: str
) -> None:
    answer = ready_harness.call(*call, body)
    assert (answer.status_code, answer.json()["detail"]) == (400, "the body is not valid")
    assert answer.json()["errors"] == [error]


def test_the_type_of_a_part_that_may_be_unavailable_is_named() -> None:
    (result,) = (endpoint.body for endpoint in ENDPOINTS if endpoint.route.endswith("/result"))
    path = "measurement.quality.status"
    described = describe_field(result, path, "Invalid value 'good'")
    assert described == "'good' is not known; allowed are measured, unavailable"
    assert describe_field(result, "no.such", "Invalid enum value 'x'") == "Invalid enum value 'x'"
    assert describe_field(result, "", "Expected `int`") == "Expected `int`"
