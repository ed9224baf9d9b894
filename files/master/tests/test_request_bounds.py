"""Tests of the bounds of requests: sizes of bodies, ranges of values, and content types."""

from typing import Any

import factories
import msgspec
import pytest
from ffrtmp_shared import suite
from hypothesis import given, settings
from hypothesis import strategies as st


def registration(**changed: Any) -> Any:
    return msgspec.to_builtins(factories.registration("worker1")) | changed


def facts(**changed: Any) -> Any:
    body = registration()
    body["facts"] |= changed
    return body


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        (registration(encoders=["x"] * 257), "encoders", 400),
        (registration(encoders=["x" * 65]), "encoders", 422),
        (registration(labels={str(n): "" for n in range(17)}), "labels", 400),
        (registration(labels={"zone": "x" * 129}), "labels", 422),
        (registration(exporters={f"e{n}": 1 for n in range(65)}), "exporters", 400),
        (registration(exporters={"cpu": 65536}), "exporters", 400),
        (registration(exporters={"cpu": 0}), "exporters", 400),
        (registration(exporters={"a/b": 9000}), "exporters", 422),
        (registration(address="host/path"), "address", 422),
        (registration(address=""), "address", 422),
        (registration(agent_version="x" * 1025), "agent_version", 422),
        (registration(bogus=1), "bogus", 400),
        (facts(cpu_count=-1), "cpu_count", 400),
        (facts(memory_bytes=2**63), "memory_bytes", 400),
        (facts(gpus=["x"] * 65), "gpus", 400),
        (facts(hostname="x" * 1025), "hostname", 422),
    ],
)
def test_a_registration_out_of_bounds_is_refused(
    harness: Any, body: Any, field: str, status: int
) -> None:
    answer = harness.call("worker1", "PUT", "/v1/nodes/worker1", body)
    assert answer.status_code == status, answer.text
    assert field in answer.text
    assert harness.ok("viewer", "GET", "/v1/nodes")["items"] == []


def measured(part: str, **changed: Any) -> Any:
    body = msgspec.to_builtins(factories.measurement())
    body[part] |= changed
    return {"attempt": 1, "measurement": body}


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        (measured("encode", wall_s=-0.1), "wall_s", 400),
        (measured("encode", frames=-1), "frames", 400),
        (measured("encode", frames=2**63), "frames", 400),
        (measured("encode", bogus=1), "bogus", 400),
        (measured("quality", vmaf_mean=-1), "vmaf_mean", 400),
        (measured("environment", cpu_model="x" * 1025), "cpu_model", 422),
        (measured("provenance", argv=["x"] * 1025), "argv", 400),
        (measured("provenance", argv=["x" * 4097]), "argv", 422),
        (measured("output", sha256="e" * 63), "sha256", 422),
        (measured("encode") | {"attempt": 2**31}, "attempt", 400),
        (measured("encode") | {"attempt": -1}, "attempt", 400),
        (measured("encode") | {"artifacts": [{}] * 257}, "artifacts", 400),
        (measured("encode") | {"next": {"slot": 0}}, "slot", 400),
    ],
)
def test_a_result_out_of_bounds_is_refused(
    ready_harness: Any, body: Any, field: str, status: int
) -> None:
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    answer = ready_harness.call("worker1", "POST", f"/v1/jobs/{claim['job']['id']}/result", body)
    assert answer.status_code == status, answer.text
    assert field in answer.text
    assert ready_harness.result(claim).is_success


def changed_scenario(**changed: Any) -> Any:
    return {"scenario": msgspec.to_builtins(factories.scenario()) | changed}


def changed_encode(**changed: Any) -> Any:
    encode = msgspec.to_builtins(factories.scenario().encode) | changed
    return changed_scenario(encode=encode)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (changed_scenario(name="a\x00b"), 422),
        (changed_scenario(name="a\n"), 422),
        (changed_scenario(name=""), 422),
        (changed_scenario(slowest_speed=0), 400),
        (changed_scenario(slowest_speed=-1), 400),
        (changed_encode(threads=0), 400),
        (changed_encode(gop_frames=10**9), 400),
        (changed_encode(rate={"crf": -1}), 400),
        (changed_encode(rate={"crf": 1, "bitrate_kbps": 1}), 400),
        (changed_encode(rate={}), 400),
        (changed_encode(rate={"bitrate_kbps": 10**30}), 400),
        (changed_encode(rate={"crf": 60}), 422),
        (changed_encode(encoder="libx999"), 422),
        (factories.job(max_attempts=0), 400),
        (factories.job(deadline_s=0), 400),
        (factories.job(deadline_s=1e12), 400),
        (factories.job(requirements={"cpu_count_min": -1}), 400),
        (factories.job(requirements={"labels": {"": "x"}}), 422),
    ],
)
def test_a_job_out_of_bounds_is_refused(harness: Any, body: Any, status: int) -> None:
    answer = harness.call("submitter", "POST", "/v1/jobs", body)
    assert answer.status_code == status, answer.text
    assert harness.ok("viewer", "GET", "/v1/jobs")["items"] == []


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 400])
@pytest.mark.parametrize(
    ("caller", "path", "field"),
    [("submitter", "/v1/jobs", "deadline_s"), ("submitter", "/v1/runs", "seed")],
)
def test_a_number_that_json_excludes_is_refused(
    harness: Any, caller: str, path: str, field: str, number: bytes
) -> None:
    body = b'{"' + field.encode() + b'": ' + number + b', "suite": "", "scenario": 1}'
    headers = {"Content-Type": "application/json"}
    answer = harness.call(caller, "POST", path, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/runs", "/v1/runs/plan"])
def test_a_deeply_nested_body_is_refused(harness: Any, path: str) -> None:
    body = b'{"suite": ' + b"[" * 200_000
    headers = {"Content-Type": "application/json"}
    answer = harness.call("submitter", "POST", path, content=body, headers=headers)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("caller", "method", "path"),
    [
        ("submitter", "POST", "/v1/jobs"),
        ("submitter", "POST", "/v1/runs"),
        ("worker1", "POST", "/v1/claims"),
        ("admin", "POST", "/v1/tokens"),
        ("admin", "PATCH", "/v1/nodes/worker1"),
    ],
)
def test_a_body_of_another_content_type_is_refused(
    harness: Any, caller: str, method: str, path: str
) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        answer = harness.call(caller, method, path, content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert "application/json" in answer.json()["detail"]
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert harness.call(caller, method, path, content=b"{}", headers=headers).status_code == 400


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/tokens"])
def test_an_oversized_body_is_refused(harness: Any, path: str) -> None:
    body = {"name": "x" * 9_000_000}
    answer = harness.call("admin", "POST", path, body)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "more",
    [
        "deadline_s: .nan",
        "deadline_s: .inf",
        "deadline_s: 1.0e+300",
        "slowest_speed: .nan",
        "requirements: {labels: {1: a}}",
        "requirements: {labels: {zone: 2001-99-99}}",
        "1: a",
        "description: !!python/name:os.system x",
        "description: &a [*a]",
        'description: "\\0"',
        'requirements: {labels: {zone: "\\ud800"}}',
        "description: " + "x" * 20_000,
        pytest.param("description: " + "[" * 5_000, marks=pytest.mark.slow),
    ],
)
def test_a_suite_that_breaks_the_yaml_parser_is_refused(ready_harness: Any, more: str) -> None:
    body = {"suite": ready_harness.suite(more=f"{more}\n")}
    answer = ready_harness.call("submitter", "POST", "/v1/runs", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0].startswith("line ")


@pytest.mark.slow
def test_a_suite_of_too_many_scenarios_is_refused_before_expansion() -> None:
    points = "".join(f"  - {{bitrate_kbps: {n}}}\n" for n in range(1, 1001))
    encodes = "".join(f"  - {{name: e{n}, encoder: libx264}}\n" for n in range(1000))
    text = factories.suite().split("encodes:")[0]
    with pytest.raises(suite.SuiteError, match="1000000 scenarios"):
        suite.parse_suite(f"{text}encodes:\n{encodes}rate_points:\n{points}")


_PIECES = st.sampled_from(
    ["&a x", "*a", "!!bool z", "{1: 2}", "? [a]\n: b", ".nan", "\0", "- ", "\n", "a: ", "["]
)


@given(st.lists(_PIECES | st.text(max_size=5), max_size=6), st.integers(0, 250))
@settings(max_examples=200, deadline=None)
def test_any_text_is_accepted_or_refused_with_a_message(pieces: list[str], at: int) -> None:
    good = factories.suite()
    text = good[:at] + "".join(pieces) + good[at:]
    try:
        suite.parse_suite(text)
    except suite.SuiteError as refused:
        assert str(refused).startswith("line ")


def test_a_nul_in_a_failure_message_is_replaced(ready_harness: Any) -> None:
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    failure = {"failure_class": "encode_failed", "message": "a\x00b"}
    body = {"attempt": 1, "failure": failure}
    job = claim["job"]["id"]
    assert ready_harness.call("worker1", "POST", f"/v1/jobs/{job}/failure", body).is_success
    assert ready_harness.job(job)["failure"]["message"] == "a\ufffdb"
