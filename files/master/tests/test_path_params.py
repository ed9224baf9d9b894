"""Tests that names in paths are validated by the same rules as names in bodies."""

from typing import Any

import pytest

_NO_JOB = "00000000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("caller", "method", "path", "status"),
    [
        ("submitter", "PUT", "/v1/sources/ABC", 422),
        ("viewer", "GET", f"/v1/sources/{'g' * 64}", 422),
        ("viewer", "GET", "/v1/sd/.cpu", 422),
        ("admin", "DELETE", "/v1/nodes/-x", 422),
        (
            "worker1",
            "PUT",
            "/v1/jobs/00000000-0000-7000-8000-000000000000/artifacts/x?attempt=0",
            400,
        ),
    ],
)
def test_an_invalid_name_is_refused_with_an_error(
    harness: Any, caller: str, method: str, path: str, status: int
) -> None:
    answer = harness.call(caller, method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]
