"""Tests of problem documents, the OpenAPI document, service discovery and readiness."""

from typing import Any

import pytest
from polling import wait_until
from sqlalchemy import text


def problem(answer: Any, status: int) -> Any:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"]
    return document


def test_unknown_paths_methods_and_ids_are_problems(harness: Any) -> None:
    problem(harness.call("viewer", "GET", "/v1/nothing"), 404)
    problem(harness.call("viewer", "DELETE", "/v1/runs"), 405)
    missing = "00000000-0000-7000-8000-000000000000"
    for path in (f"/v1/runs/{missing}", f"/v1/jobs/{missing}", f"/v1/jobs/{missing}/transitions"):
        assert missing in problem(harness.call("viewer", "GET", path), 404)["detail"]


def test_an_invalid_body_is_refused_with_the_field(harness: Any) -> None:
    body = {"node": "worker1", "slot": "first", "wait_s": 0}
    document = problem(harness.call("worker1", "POST", "/v1/claims", body), 400)
    assert any("slot" in error and "int" in error for error in document["errors"])
    body = {"node": "worker1", "slot": 1, "wait_s": 0, "bogus": 1}
    document = problem(harness.call("worker1", "POST", "/v1/claims", body), 400)
    assert any("bogus" in error for error in document["errors"])
    broken = harness.call("worker1", "POST", "/v1/claims", content=b"{")
    problem(broken, 400)
    offline = harness.call("admin", "PATCH", "/v1/nodes/worker1", {"state": "offline"})
    assert "offline" in problem(offline, 422)["detail"]


def test_a_body_that_is_too_large_is_refused(harness: Any) -> None:
    body = {"suite": "x" * 9_000_000}
    problem(harness.call("submitter", "POST", "/v1/runs", body), 413)


def test_an_unexpected_error_reveals_no_internals(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("an internal secret")

    monkeypatch.setattr(harness.services, "clock", broken)
    document = problem(harness.call("viewer", "GET", "/v1/nodes"), 500)
    assert "secret" not in str(document)
    assert "Traceback" not in str(document)


def test_openapi_is_generated_and_names_problems(harness: Any) -> None:
    document = harness.ok("viewer", "GET", "/schema/openapi.json")
    create = document["paths"]["/v1/runs"]["post"]
    reference = create["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference.endswith("RunRequest")
    refused = create["responses"]["422"]["content"]["application/problem+json"]
    assert refused["schema"]["$ref"].endswith("Problem")
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                assert status < "400" or set(response["content"]) == {"application/problem+json"}
    names = {parameter["name"] for parameter in create["parameters"]}
    assert names == {"Idempotency-Key"}
    assert "/v1/jobs/{job_id}/attempts/{attempt}/artifacts/{name}" in document["paths"]


def test_discovery_returns_the_targets_of_every_node(harness: Any) -> None:
    harness.register("worker1")
    harness.register("worker2")
    harness.clock.advance(1000)
    assert harness.ok("viewer", "GET", "/v1/sd/cpu") == [
        {"targets": ["192.0.2.1:9510"], "labels": {"node": "worker1"}},
        {"targets": ["192.0.2.1:9510"], "labels": {"node": "worker2"}},
    ]
    assert harness.ok("viewer", "GET", "/v1/sd/gpu") == []


def test_discovery_omits_a_node_that_was_drained_and_stopped(harness: Any) -> None:
    harness.register("worker1")
    harness.register("worker2")
    harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    listed = harness.ok("viewer", "GET", "/v1/sd/cpu")
    assert [group["labels"]["node"] for group in listed] == ["worker1", "worker2"]
    harness.clock.advance(1000)
    listed = harness.ok("viewer", "GET", "/v1/sd/cpu")
    assert [group["labels"]["node"] for group in listed] == ["worker2"]
    # The node is started again, but still drained.
    harness.register("worker1")
    node = harness.ok("viewer", "GET", "/v1/nodes")["items"][0]
    assert (node["name"], node["state"], node["is_draining"]) == ("worker1", "draining", True)
    listed = harness.ok("viewer", "GET", "/v1/sd/cpu")
    assert [group["labels"]["node"] for group in listed] == ["worker1", "worker2"]


@pytest.mark.slow
def test_readiness_needs_the_schema(harness: Any) -> None:
    assert harness.call(None, "GET", "/readyz").json()["status"] == "ready"

    async def set_old_revision() -> None:
        await harness.services.writer.write(
            lambda work: work.connection.execute(
                text("UPDATE alembic_version SET version_num = 'old'")
            )
        )

    with harness.client.portal() as portal:
        portal.call(set_old_revision)

    def refusal() -> Any:
        answer = harness.call(None, "GET", "/readyz")
        return None if answer.status_code == 200 else answer

    # The result of a check is used for a second.
    answer = wait_until(refusal, "the schema is checked again", interval_s=0.1)
    document = problem(answer, 503)
    assert "migrate" in document["detail"]
    assert harness.call(None, "GET", "/healthz").status_code == 200
