"""Fuzz tests of the API, which are generated from its OpenAPI document.

No answer may have a status of 500 or above, and all answers must be documented.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factories
import msgspec
import pytest
import requests
import schemathesis
from databases import only
from ffrtmp_master.settings import Settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from load_generator import register_all
from master_process import MasterProcess
from polling import TIMEOUT_S
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

# The number of cases for each operation, mode and role. If this variable is not set, there are few
# cases, which are always the same. It is set by make test-deep.
_CASES = os.environ.get("FFRTMP_TEST_CASES")
_FEW_CASES = 3

_CHECKS: list[Any] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

# This path is excluded, because its answer is an endless stream, which a test would read forever.
# It is tested in files/master/tests/test_events.py.
_ENDLESS = "/v1/events"

pytestmark = [only("sqlite"), pytest.mark.property, pytest.mark.slow]


class Site:
    """A master with data, so that requests can use ids that exist."""

    def __init__(self, master: MasterProcess) -> None:
        self.master = master
        self.run_id = ""
        self.job_ids: list[str] = []
        self.attempt = 1

    def fill(self) -> None:
        """Add nodes, a source, a run, and jobs in several states."""
        register_all(self.master)
        with self.master.http("submitter") as submitter, self.master.http("worker1") as agent:
            put = submitter.put(f"/v1/sources/{factories.CLIP_SHA256}", content=factories.CLIP)
            assert put.status_code == 204
            text = factories.suite(rates=2, placement="any", more="exclusive: false\n")
            run = submitter.post("/v1/runs", json={"suite": text})
            self.run_id = run.json()["id"]
            for slot in (1, 2):
                claim = agent.post("/v1/claims", json={"node": "worker1", "slot": slot})
                self.job_ids.append(claim.json()["job"]["id"])
            done = msgspec.json.encode({"attempt": 1, "measurement": factories.measurement()})
            stored = agent.post(
                f"/v1/jobs/{self.job_ids[0]}/result",
                content=done,
                headers={"Content-Type": "application/json"},
            )
            assert stored.status_code == 200, stored.text

    def use_existing_ids(self, case: Case, pick: int) -> None:
        """Put existing ids into the path of a case, so that its answer is not always a 404."""
        known = {
            "job_id": self.job_ids[pick % len(self.job_ids)],
            "run_id": self.run_id,
            "sha256": factories.CLIP_SHA256,
            "attempt": "1",
        }
        for name in set(case.path_parameters or {}) & known.keys():
            case.path_parameters[name] = known[name]


@pytest.fixture(scope="module")
def sites() -> dict[str, Site]:
    """The sites that the tests of this module share."""
    return {}


@pytest.fixture
def site(migrated: Settings, tmp_path: Path) -> Iterator[Site]:
    unlimited = msgspec.structs.replace(
        migrated, requests_per_s_max=1e9, failed_logins_per_minute_max=10**9
    )
    with MasterProcess(tmp_path, unlimited).serving() as master:
        site = Site(master)
        site.fill()
        yield site


@pytest.mark.parametrize("holder", ["viewer", "submitter", "admin", "worker1"])
def test_every_answer_is_documented(site: Site, holder: str) -> None:
    headers = {"Authorization": f"Bearer token-{holder}"}
    schema = schemathesis.openapi.from_url(
        f"{site.master.url}/schema/openapi.json",
        headers={"Authorization": "Bearer token-viewer"},
        verify=str(site.master.ca_file),
    )
    schema.config.update(base_url=site.master.url)
    schema.config.generation.update(modes=list(GenerationMode))
    tried = 0
    with requests.Session() as session:
        for found in schema.exclude(path=_ENDLESS).get_all_operations():
            operation = found.ok()
            for mode in GenerationMode:
                fuzz(site, session, headers, operation, mode)
            tried += 1
    assert tried > 25
    assert site.master.is_running


def fuzz(
    site: Site, session: requests.Session, headers: dict[str, str], operation: Any, mode: Any
) -> None:
    """Call an operation with valid or invalid requests."""
    try:
        strategy = operation.as_strategy(mode)
    except Exception as error:
        raise AssertionError(f"{operation.label}: {error}") from error

    @settings(
        max_examples=int(_CASES) if _CASES else _FEW_CASES,
        derandomize=not _CASES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, pick=st.integers(0, 3))
    def attempt(case: Case, pick: int) -> None:
        if pick:
            site.use_existing_ids(case, pick)
        _disable_waiting(case)
        case.call_and_validate(
            session=session,
            headers=headers,
            checks=_CHECKS,
            timeout=TIMEOUT_S,
            verify=str(site.master.ca_file),
        )

    attempt()


def _disable_waiting(case: Case) -> None:
    """Change a case so that it neither waits for a job nor follows a log.

    Other tests cover both.
    """
    (case.query or {}).pop("follow", None)
    body = case.body
    if isinstance(body, dict):
        for part in (body, body.get("next")):
            if isinstance(part, dict) and isinstance(part.get("wait_s"), int | float):
                part["wait_s"] = 0
