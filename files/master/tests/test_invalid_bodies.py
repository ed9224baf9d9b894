"""Tests that no body causes an internal error, on the fast path or in the framework."""

import re
from collections.abc import Iterator
from typing import Any

import factories
import pytest
from databases import only

pytestmark = only("sqlite")

_BODIES = {
    "not UTF-8": b'{"name": "\xff"}',
    "only an invalid byte": b"\xff",
    "surrogate": b'{"name": "\xed\xa0\x80"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "empty": b"",
    "not JSON": b"{",
    "null": b"null",
    "list": b"[]",
    "number": b"1e999",
    "text": b'"x"',
    "NUL": b"\x00",
    "deeply nested": b"[" * 100_000,
}
_MEDIA_TYPES = ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "x", "é")
_JSON = "application/json"
_ROLES = ("admin", "worker1")


def operations(harness: Any) -> Iterator[tuple[str, str]]:
    """Yield the method and a path of each operation that has a JSON body."""
    document = harness.ok("viewer", "GET", "/schema/openapi.json")
    for template, item in document["paths"].items():
        path = template.replace("{name}", "worker1")
        path = re.sub(r"\{[^}]*\}", "00000000-0000-7000-8000-000000000000", path)
        for method, operation in item.items():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                yield method.upper(), path


def send(
    harness: Any, role: str, method: str, path: str, body: bytes, *, media_type: str = _JSON
) -> Any:
    headers = {"Content-Type": media_type.encode("latin-1")}
    return harness.call(role, method, path, content=body, headers=headers)


@pytest.mark.parametrize("body", _BODIES.values(), ids=_BODIES)
def test_a_body_that_is_not_valid_is_refused(harness: Any, body: bytes) -> None:
    tried = 0
    for method, path in operations(harness):
        for role in _ROLES:
            answer = send(harness, role, method, path, body)
            assert 400 <= answer.status_code < 500, (method, path, role, answer.text)
            tried += answer.status_code in (400, 422)
    assert tried >= 10


@pytest.mark.slow
def test_a_body_of_another_media_type_is_refused(harness: Any) -> None:
    for method, path in operations(harness):
        for media_type in _MEDIA_TYPES:
            statuses = {
                send(harness, role, method, path, b"{}", media_type=media_type).status_code
                for role in _ROLES
            }
            assert 415 in statuses, (method, path, media_type)
            assert statuses <= {403, 404, 409, 415}, (method, path, media_type)


@pytest.mark.parametrize("body", [b"\xff", b"a\x00b", b"\xed\xa0\x80"])
def test_a_log_that_is_not_text_is_refused(ready_harness: Any, body: bytes) -> None:
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    path = f"/v1/jobs/{claim['job']['id']}/log?attempt=1"
    assert ready_harness.call("worker1", "POST", path, content=body).status_code == 422


def test_a_suite_that_is_not_text_is_refused(harness: Any) -> None:
    for text in (factories.suite() + "\ud800", "\x00", "\ufeff" * 10, "[" * 5000):
        body = b'{"suite": "' + text.encode("utf-16", "surrogatepass") + b'"}'
        answer = send(harness, "submitter", "POST", "/v1/runs/plan", body)
        assert 400 <= answer.status_code < 500, answer.text
