"""Tests of access control: every route with every role, and the problem documents of refusals."""

from typing import Any
from uuid import uuid4

import pytest

ID = str(uuid4())
SHA = "0" * 64

VIEWER = {"viewer", "submitter", "admin"}
SUBMITTER = {"submitter", "admin"}
ADMIN = {"admin"}
AGENT = {"worker1"}
ANYONE = VIEWER | AGENT | {None}

ROUTES: dict[tuple[str, str], set[str | None]] = {
    ("GET", "/"): ANYONE,
    ("GET", "/healthz"): ANYONE,
    ("GET", "/readyz"): ANYONE,
    ("GET", "/metrics"): set(VIEWER),
    ("GET", "/schema"): ANYONE,
    ("GET", "/schema/openapi.json"): ANYONE,
    ("POST", "/v1/runs"): set(SUBMITTER),
    ("POST", "/v1/runs/plan"): set(SUBMITTER),
    ("GET", "/v1/runs"): set(VIEWER),
    ("GET", "/v1/runs/{run_id}"): set(VIEWER),
    ("GET", "/v1/runs/{run_id}/suite"): set(VIEWER),
    ("GET", "/v1/runs/{run_id}/precision"): set(VIEWER),
    ("POST", "/v1/runs/{run_id}/cancel"): set(SUBMITTER),
    ("POST", "/v1/runs/{run_id}/retry"): set(SUBMITTER),
    ("GET", "/v1/jobs"): set(VIEWER),
    ("POST", "/v1/jobs"): set(SUBMITTER),
    ("PATCH", "/v1/jobs/{job_id}"): set(SUBMITTER),
    ("POST", "/v1/jobs/{job_id}/cancel"): set(SUBMITTER),
    ("POST", "/v1/jobs/{job_id}/retry"): set(SUBMITTER),
    ("GET", "/v1/jobs/{job_id}/log"): set(VIEWER),
    ("POST", "/v1/jobs/{job_id}/log"): set(AGENT),
    ("GET", "/v1/jobs/{job_id}"): set(VIEWER),
    ("GET", "/v1/jobs/{job_id}/transitions"): set(VIEWER),
    ("POST", "/v1/jobs/{job_id}/heartbeat"): set(AGENT),
    ("POST", "/v1/jobs/{job_id}/result"): set(AGENT),
    ("POST", "/v1/jobs/{job_id}/failure"): set(AGENT),
    ("PUT", "/v1/jobs/{job_id}/artifacts/{name}"): set(AGENT),
    ("GET", "/v1/jobs/{job_id}/attempts/{attempt}/artifacts/{name}"): set(VIEWER),
    ("HEAD", "/v1/jobs/{job_id}/attempts/{attempt}/artifacts/{name}"): set(VIEWER),
    ("POST", "/v1/claims"): set(AGENT),
    ("GET", "/v1/events"): set(VIEWER),
    ("GET", "/v1/results"): set(VIEWER),
    ("GET", "/v1/results/export"): set(VIEWER),
    ("GET", "/v1/nodes"): set(VIEWER),
    ("PUT", "/v1/nodes/{name}"): set(AGENT),
    ("POST", "/v1/nodes/{name}/heartbeat"): set(AGENT),
    ("PATCH", "/v1/nodes/{name}"): set(ADMIN),
    ("DELETE", "/v1/nodes/{name}"): set(ADMIN),
    ("GET", "/v1/sources"): set(VIEWER),
    ("PUT", "/v1/sources/{sha256}"): set(SUBMITTER),
    ("DELETE", "/v1/sources/{sha256}"): set(SUBMITTER),
    ("HEAD", "/v1/sources/{sha256}"): VIEWER | AGENT,
    ("GET", "/v1/sources/{sha256}"): VIEWER | AGENT,
    ("GET", "/v1/sd/{exporter}"): set(VIEWER),
    ("GET", "/v1/prices"): set(VIEWER),
    ("GET", "/v1/tokens"): set(ADMIN),
    ("POST", "/v1/tokens"): set(ADMIN),
    ("GET", "/v1/tokens/{name}"): set(ADMIN),
    ("DELETE", "/v1/tokens/{name}"): set(ADMIN),
    ("GET", "/v1/audit"): set(ADMIN),
}

# The answer to a permitted request to this route is an endless stream of events.
ENDLESS_ROUTE = "/v1/events"

CALLERS: tuple[str | None, ...] = ("viewer", "submitter", "admin", "worker1", None)


def filled(path: str) -> str:
    values = {"run_id": ID, "job_id": ID, "name": "worker1", "attempt": "1", "exporter": "cpu"}
    return path.format(**values, sha256=SHA)


@pytest.mark.slow
@pytest.mark.parametrize("caller", CALLERS)
def test_every_route_admits_exactly_the_allowed_roles(harness: Any, caller: str | None) -> None:
    for (method, path), allowed in ROUTES.items():
        if path == ENDLESS_ROUTE and caller in allowed:
            continue
        answer = harness.call(caller, method, filled(path))
        if caller in allowed:
            assert answer.status_code not in (401, 403, 500), f"{method} {path}: {answer.text}"
            continue
        wanted = 401 if caller is None else 403
        assert answer.status_code == wanted, f"{method} {path} for {caller}: {answer.status_code}"
        assert answer.headers["content-type"] == "application/problem+json"
        if wanted == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.slow
def test_the_table_has_every_route(harness: Any) -> None:
    document = harness.call(None, "GET", "/schema/openapi.json").json()
    served = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert served == {key for key in ROUTES if not key[1].startswith("/schema")}


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic dG9rZW4=", "Bearer", "token-viewer"])
def test_an_unknown_token_is_refused(harness: Any, header: str) -> None:
    answer = harness.call(None, "GET", "/v1/runs", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["title"] == "Unauthorized"


def test_an_agent_may_act_only_for_its_own_node(ready_harness: Any) -> None:
    body = {"node": "worker1", "slot": 1, "wait_s": 0}
    assert ready_harness.call("worker2", "POST", "/v1/claims", body).status_code == 403
    body = ready_harness.registration("worker1")
    assert ready_harness.call("worker2", "PUT", "/v1/nodes/worker1", body).status_code == 403
    body = ready_harness.registration("worker2")
    assert ready_harness.call("worker1", "PUT", "/v1/nodes/worker1", body).status_code == 422
