"""Random requests: any method, path, headers and body, many of them nearly valid."""

import json
from typing import Any, NamedTuple

import factories
import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from raw_connection import head

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
_IDS = ("00000000-0000-7000-8000-000000000000", factories.CLIP_SHA256, "worker1", "1", "%00", "é")
_OPERATIONS = (
    "GET /healthz", "GET /readyz", "GET /metrics", "GET /schema/openapi.json", "GET /",
    "GET /v1/nodes", "PUT /v1/nodes/{}", "PATCH /v1/nodes/{}", "DELETE /v1/nodes/{}",
    "GET /v1/sd/{}", "PUT /v1/sources/{}", "HEAD /v1/sources/{}", "GET /v1/sources/{}",
    "DELETE /v1/sources/{}", "GET /v1/sources",
    "POST /v1/runs/plan", "POST /v1/runs", "GET /v1/runs", "GET /v1/runs/{}",
    "GET /v1/runs/{}/suite", "GET /v1/runs/{}/precision", "POST /v1/runs/{}/cancel",
    "POST /v1/runs/{}/retry",
    "POST /v1/jobs", "GET /v1/jobs", "GET /v1/jobs/{}", "PATCH /v1/jobs/{}",
    "GET /v1/jobs/{}/transitions", "POST /v1/jobs/{}/cancel", "POST /v1/jobs/{}/retry",
    "POST /v1/jobs/{}/log?attempt=1", "GET /v1/jobs/{}/log?attempt=1",
    "POST /v1/jobs/{}/heartbeat", "POST /v1/jobs/{}/result", "POST /v1/jobs/{}/failure",
    "PUT /v1/jobs/{}/artifacts/{}?attempt=1", "GET /v1/jobs/{}/attempts/{}/artifacts/{}",
    "POST /v1/claims", "GET /v1/results", "GET /v1/results/export?format=csv",
    "POST /v1/tokens", "GET /v1/tokens", "GET /v1/tokens/{}", "DELETE /v1/tokens/{}",
    "GET /v1/audit", "GET /v1/prices", "GET /-/healthy",
)  # fmt: skip
_QUERIES = (
    "", "?limit=0", "?limit=x", "?cursor=%ff", "?cursor=1", "?follow=x", "?attempt=99999999999",
    "?run=x", "?unknown=1", "?state=queued&state=x", "?%00=%00", "?format=csv",
)  # fmt: skip
_CONTENT_TYPES = (
    "application/json", "text/plain", "application/octet-stream", "multipart/form-data",
    "application/json; charset=utf-16", "x", "application/x-www-form-urlencoded", "",
)  # fmt: skip

_VALID: tuple[Any, ...] = (
    {"node": "worker1", "slot": 1, "wait_s": 0},
    {"attempt": 1, "progress": {"stage": "encode", "frames": 5}},
    {"suite": factories.suite(), "seed": 1},
    {"attempt": 1, "measurement": msgspec.to_builtins(factories.measurement())},
    msgspec.to_builtins(factories.job()),
    msgspec.to_builtins(factories.registration("worker1")),
    {"name": "ci", "role": "viewer"},
    {"state": "draining"},
    {"priority": "high"},
    {"attempt": 1, "failure": {"failure_class": "timeout", "message": "m", "log_tail": ""}},
)

_TEXT = st.text(max_size=40) | st.sampled_from(
    ["\x00", "\ud800", "=1+1", "x" * 5000, "NaN", "\u202e", "1e999", "null"]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 10**400])
    | st.floats()
    | _TEXT
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=8,
)


class GeneratedRequest(NamedTuple):
    """A request with its body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def encode(self) -> bytes:
        """Return the bytes to send."""
        length = {"Content-Length": str(len(self.body))}
        return head(self.method, self.path, self.headers | length) + self.body


def requests(tokens: tuple[str, ...]) -> SearchStrategy[GeneratedRequest]:
    """Return a strategy for requests with one of the tokens, an unknown one or none."""
    authorizations = [*(f"Bearer {token}" for token in tokens), "Bearer x", "Basic eDp5", ""]
    headers = st.fixed_dictionaries(
        {
            "Authorization": st.sampled_from(authorizations),
            "Content-Type": st.sampled_from(_CONTENT_TYPES),
        },
        optional={
            "Range": st.sampled_from(["bytes=0-", "bytes=9-1", "bytes=-0", "x"]),
            "Accept": st.sampled_from(["*/*", "text/plain;q=x", "application/openmetrics-text"]),
            "Last-Event-ID": st.sampled_from(["1.1", "x", "9" * 100]),
            "Idempotency-Key": st.sampled_from(["k", "é", "x" * 300]),
            "X-Request-ID": st.sampled_from(["id", "a b", "x" * 200]),
            "Cookie": st.sampled_from(["a=b", "=;=;"]),
        },
    )
    built = st.builds(_request, _operations(), headers, _bodies())
    # The ordinary client needs its node.
    return built.filter(lambda r: r.method != "DELETE" or "/nodes/worker1" not in r.path)


def _request(operation: tuple[str, str], headers: dict[str, str], body: bytes) -> GeneratedRequest:
    return GeneratedRequest(*operation, headers, body)


def _operations() -> SearchStrategy[tuple[str, str]]:
    """Return a strategy for methods with paths; most of them exist."""

    def fill(operation: str, other: str | None, ids: list[str], query: str) -> tuple[str, str]:
        method, _, path = operation.partition(" ")
        for known in ids:
            path = path.replace("{}", known.encode("ascii", "xmlcharrefreplace").decode(), 1)
        return other or method, path.replace("{}", "x") + ("" if "?" in path else query)

    return st.builds(
        fill,
        st.sampled_from(_OPERATIONS),
        st.sampled_from([None] * 3 * len(_METHODS) + list(_METHODS)),
        st.lists(st.sampled_from(_IDS), min_size=1, max_size=3),
        st.sampled_from(_QUERIES),
    )


def _bodies() -> SearchStrategy[bytes]:
    """Return a strategy for valid, slightly changed, and arbitrary bodies."""
    changed = st.builds(_changed, st.sampled_from(_VALID), st.integers(0, 50), _JSON)
    encoded = (changed | _JSON).map(_encode)
    cut = st.builds(lambda body, end: body[: end % (len(body) + 1)], encoded, st.integers(0, 4000))
    broken = st.builds(
        lambda body, place, wrong: body[:place] + wrong + body[place:],
        encoded,
        st.integers(0, 200),
        st.sampled_from([b"\xff", b"\x00", b"\xed\xa0\x80", b"{" * 3000, b"\xef\xbb\xbf"]),
    )
    return st.just(b"") | encoded | cut | broken | st.binary(max_size=200)


def _changed(valid: Any, place: int, value: Any) -> Any:
    """Return a copy of a document in which the value at some place is another one."""
    copy = json.loads(json.dumps(valid))
    parents: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            # The time that a claim waits is not changed, so that no request takes long.
            if key != "wait_s":
                parents.append((node, key))
            if isinstance(child, dict | list):
                walk(child)

    walk(copy)
    node, key = parents[place % len(parents)]
    node[key] = value
    return copy


def _encode(value: Any) -> bytes:
    return json.dumps(value).encode()
