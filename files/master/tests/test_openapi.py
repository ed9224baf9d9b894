"""Tests of the OpenAPI document and its HTML page.

The document must contain all routes, one schema for each type, and all answers.
"""

import json
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from ffrtmp_master.api import agent_endpoints
from ffrtmp_master.server import app
from ffrtmp_shared.agent_models import Claim, ResultReport
from ffrtmp_shared.models import JobRequest, Problem
from jsonschema import Draft202012Validator

REFERENCE = re.compile(r'"#/components/schemas/(\w+)"')


@pytest.fixture
def document(harness: Any) -> Any:
    return harness.call(None, "GET", "/schema/openapi.json").json()


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_document_has_every_route(harness: Any, document: Any) -> None:
    served = {
        (route.path_format, method.lower())
        for route in app.build_framework(app.ServicesHolder(harness.services)).routes
        for method in route.methods
        if method != "OPTIONS" and not route.path.startswith("/schema")
    }
    served |= {(endpoint.route, "post") for endpoint in agent_endpoints.ENDPOINTS}
    assert {(path, method) for path, method, _ in operations(document)} == served
    assert set(document["paths"]["/v1/jobs"]) == {"get", "post"}


def test_every_reference_resolves_to_a_valid_schema(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert set(REFERENCE.findall(json.dumps(document))) == set(schemas)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    identifiers = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(identifiers) == len(set(identifiers))


def test_schemas_match_the_validation(document: Any) -> None:
    schemas = document["components"]["schemas"]
    template = "#/components/schemas/{name}"
    types = [JobRequest, ResultReport, Claim, Problem]
    _, components = msgspec.json.schema_components(types, ref_template=template)
    wanted = json.loads(json.dumps(components))
    for name in ("JobRequest", "ResultReport", "Claim", "Problem", "Job", "Measurement"):
        assert schemas[name]["properties"] == wanted[name]["properties"]
    assert schemas["JobRequest"]["additionalProperties"] is False
    assert "\n    " not in json.dumps(schemas)
    for good, body in (
        (True, {"crf": 23}),
        (True, {"cq": 30}),
        (True, {"bitrate_kbps": 5, "crf": None}),
        (True, {"vmaf": 93, "vmaf_tolerance": 1}),
        (False, {}),
        (False, {"vmaf": 93, "crf": 23}),
        (False, {"vmaf": 100}),
        (False, {"crf": 23, "bitrate_kbps": 5}),
    ):
        assert Draft202012Validator(schemas["RatePoint"]).is_valid(body) is good, body


def test_every_operation_documents_the_common_answers(document: Any) -> None:
    for path, method, operation in operations(document):
        responses = operation["responses"]
        if operation.get("security") == []:
            continue
        assert {"401", "403", "422", "429", "503"} <= set(responses), path
        assert "404" in responses or "{" not in path
        assert "507" in responses or method in ("get", "head")
        if "requestBody" in operation:
            assert {"400", "413"} <= set(responses)
        for status in ("429", "503"):
            assert "Retry-After" in responses[status]["headers"]
        for status, response in responses.items():
            if status >= "400" and method != "head":
                assert set(response["content"]) == {"application/problem+json"}, (path, status)


def test_frequent_calls_document_bodies_and_answers(document: Any) -> None:
    submit = document["paths"]["/v1/jobs"]["post"]
    assert [parameter["name"] for parameter in submit["parameters"]] == ["Idempotency-Key"]
    assert {"200", "201", "415", "422"} <= set(submit["responses"])
    body = submit["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/JobRequest"}
    claim = document["paths"]["/v1/claims"]["post"]
    assert "content" not in claim["responses"]["204"]
    result = document["paths"]["/v1/jobs/{job_id}/result"]["post"]
    assert [parameter["in"] for parameter in result["parameters"]] == ["path"]


def test_parameters_are_never_null(document: Any) -> None:
    parameters = document["paths"]["/v1/jobs"]["get"]["parameters"]
    filters = {parameter["name"]: parameter for parameter in parameters}
    assert set(filters) == {
        "run", "state", "node", "scenario", "priority", "created_after", "created_before",
        "cursor", "limit",
    }  # fmt: skip
    assert filters["run"]["schema"] == {"type": "string", "format": "uuid"}
    assert filters["limit"]["schema"]["maximum"] == 1000
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert '"null"' not in json.dumps(parameter["schema"]), parameter


class Links(HTMLParser):
    """Collects the link targets, the ids and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.names: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for key, value in attrs:
            if key in ("href", "src"):
                self.targets.add(value or "")
            if key == "id":
                self.names.add(value or "")


def test_the_page_loads_no_external_resources(harness: Any, document: Any) -> None:
    answer = harness.call(None, "GET", "/schema")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = Links()
    page.feed(answer.text)
    assert "script" not in page.tags
    assert {target for target in page.targets if not target.startswith("#")} == {
        "/schema/openapi.json"
    }
    assert {target[1:] for target in page.targets if target.startswith("#")} <= page.names
    for path in document["paths"]:
        assert path in answer.text
    assert "Lease a job to a slot" in answer.text


@pytest.mark.parametrize("path", ["/schema/nothing", "/schema/nothing.json", "/nothing", "/v1"])
def test_an_unknown_page_is_a_problem(harness: Any, path: str) -> None:
    answer = harness.call("viewer", "GET", path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/claims", "OPTIONS, POST"),
        ("/v1/jobs", "GET, OPTIONS, POST"),
        (f"/v1/jobs/{'0' * 8}-0000-7000-8000-{'0' * 12}/result", "OPTIONS, POST"),
    ],
)
def test_paths_of_frequent_calls_list_their_methods(harness: Any, path: str, allowed: str) -> None:
    for method in ("PUT", "DELETE", "TRACE"):
        answer = harness.call("admin", method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        assert answer.headers["content-type"] == "application/problem+json"
    options = harness.call(None, "OPTIONS", path)
    assert (options.status_code, options.headers["allow"]) == (204, allowed)


def test_paths_of_the_framework_list_their_methods(harness: Any) -> None:
    answer = harness.call("viewer", "DELETE", "/v1/runs")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "OPTIONS", "POST"}
