"""Tests that compare the tables of docs/api.md with the behavior of the master."""

import re
from pathlib import Path
from typing import Any, get_args

import httpx
import msgspec
import pytest
from ffrtmp_master.api.pagination import Limit
from ffrtmp_master.settings import Settings
from ffrtmp_shared.agent_models import ClaimRequest
from ffrtmp_shared.credentials import client_context
from ffrtmp_shared.models import Role, RunRequest
from ffrtmp_shared.suite_limits import MAX_JOBS
from ruamel.yaml import YAML

from .conftest import Site
from .page import Page

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

# Values of path parameters that refer to items that do not exist.
_PARTS = {
    "job_id": "00000000-0000-0000-0000-000000000000",
    "run_id": "00000000-0000-0000-0000-000000000000",
    "sha256": "0" * 64,
    "name": "missing",
    "exporter": "cpu",
    "attempt": "1",
}

# For each role in the table's column `role`, the roles that may call the endpoint.
_INCLUDING = {
    "viewer": {Role.VIEWER, Role.SUBMITTER, Role.ADMIN},
    "submitter": {Role.SUBMITTER, Role.ADMIN},
    "admin": {Role.ADMIN},
    "agent": {Role.AGENT},
    "anyone": set(Role),
}


@pytest.fixture(scope="session")
def operations(site: Site) -> dict[tuple[str, str], Any]:
    """The operations of the OpenAPI document, by method and path."""
    with _client(site) as client:
        document = client.get("/schema/openapi.json").raise_for_status().json()
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _client(site: Site, token: str | None = None) -> httpx.Client:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    context = client_context(site.master.ca_file)
    return httpx.Client(base_url=site.master.url, verify=context, headers=headers)


def _endpoints(page: Page) -> list[tuple[str, str, str]]:
    return [
        (method, path.strip("`"), role) for method, path, role, _ in page.table("All endpoints")
    ]


def test_the_table_has_every_endpoint(page: Page, operations: dict[Any, Any]) -> None:
    listed = [(method, path) for method, path, _ in _endpoints(page)]
    assert sorted(listed) == sorted(operations)


def test_the_table_has_the_required_roles(page: Page, site: Site) -> None:
    wrong = []
    for role in Role:
        with _client(site, site.token(role)) as client:
            for method, path, named in _endpoints(page):
                permitted = set().union(*(_INCLUDING[name] for name in named.split(", ")))
                status = _status(client, method, path)
                if (status != httpx.codes.FORBIDDEN) != (role in permitted):
                    wrong.append(f"{role}: {method} {path} is answered with {status}")
    assert not wrong


def test_only_endpoints_for_anyone_need_no_token(page: Page, site: Site) -> None:
    with _client(site) as client:
        refused = {
            (method, path, role): _status(client, method, path) == httpx.codes.UNAUTHORIZED
            for method, path, role in _endpoints(page)
        }
    assert {endpoint for endpoint, is_refused in refused.items() if not is_refused} == {
        endpoint for endpoint in refused if endpoint[2] == "anyone"
    }


def _status(client: httpx.Client, method: str, path: str) -> int:
    with client.stream(method, path.format(**_PARTS)) as answer:
        return answer.status_code


def test_every_error_of_the_document_is_explained(page: Page, operations: dict[Any, Any]) -> None:
    announced = {
        int(status)
        for operation in operations.values()
        for status in operation["responses"]
        if int(status) >= httpx.codes.BAD_REQUEST
    }
    # The OpenAPI document does not contain the statuses for a defect and an unsupported method.
    announced |= {httpx.codes.INTERNAL_SERVER_ERROR, httpx.codes.METHOD_NOT_ALLOWED}
    # The listener refuses some requests before it knows their operation.
    announced |= {
        httpx.codes.REQUEST_TIMEOUT,
        httpx.codes.REQUEST_URI_TOO_LONG,
        httpx.codes.REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
    explained = [int(row[0]) for row in page.table("Errors")]
    assert explained == sorted(announced)


def test_limits_are_those_of_a_farm(page: Page, root: Path) -> None:
    defaults = YAML(typ="safe").load((root / "roles/master/defaults/main.yml").read_text())
    master_defaults = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    fixed = {
        "jobs of a run": MAX_JOBS,
        "characters of a suite": _bound(msgspec.json.schema(RunRequest), "suite", "maxLength"),
        "seconds that a claim waits": _bound(
            msgspec.json.schema(ClaimRequest), "wait_s", "maximum"
        ),
        "items of a page": get_args(Limit)[1].le,
    }
    for limit, shown, setting in page.table("Limits"):
        name = setting.strip("`")
        real = fixed.pop(limit) if not name else defaults[name]
        if real is None:
            real = master_defaults[name.removeprefix("master_")]
        assert _number(shown) == real, limit
    assert not fixed


def _bound(schema: Any, field: str, bound: str) -> Any:
    (found,) = schema["$defs"].values()
    return found["properties"][field][bound]


def _number(shown: str) -> int:
    match = re.fullmatch(r"(\d+)(?: (\w+))?", shown)
    assert match is not None, shown
    return int(match[1]) * _UNITS.get(match[2], 1)
