"""Tests of limits for requests.

They cover request rates, failed logins, sizes of bodies, ranges of values, and content types.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import factories
import in_process_master
import msgspec
import pytest
from ffrtmp_master.auth.rate_limiting import BucketCache, TokenBucket, client_network, retry_after
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import credentials
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_shared import suite
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.models import Role
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process_master import MasterHarness, SetClock
from polling import TIMEOUT_S
from sqlalchemy import event

MISSING = "00000000-0000-7000-8000-000000000000"


@contextmanager
def limited(migrated: Settings, **changed: Any) -> Iterator[MasterHarness]:
    clock = SetClock()
    services = Services(
        msgspec.structs.replace(migrated, **changed), clock, maintenance_interval_s=3600
    )
    with in_process_master.running_master(services, clock) as harness:
        yield harness


def test_a_bucket_is_drained_and_refilled() -> None:
    bucket = TokenBucket(3, 2, 100.0)
    assert [bucket.consume(100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.consume(100.25) == 0.25
    assert bucket.consume(100.5) == 0
    assert bucket.consume(100.5) == 0.5
    # The bucket does not exceed its size, and a clock that is set back does not refill it.
    assert [bucket.consume(900.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.consume(899.0) == 0.5


def test_only_the_latest_buckets_are_stored() -> None:
    latest = BucketCache[int](100, 1, 1)
    assert all(latest.consume(key, 0.0) == 0 for key in range(1000))
    assert len(latest) == 100
    assert latest.consume(999, 0.0) == 1
    assert latest.consume(0, 0.0) == 0


def test_a_client_is_an_ipv4_address_or_an_ipv6_network() -> None:
    assert (
        client_network(("192.0.2.1", 5))
        == client_network(("192.0.2.1", 6))
        != client_network(("192.0.2.2", 5))
    )
    assert client_network(("2001:db8::1", 5)) == client_network(("2001:db8::2:3", 5))
    assert client_network(("2001:db8::1", 5)) != client_network(("2001:db8:0:1::1", 5))
    assert client_network(("fe80::1%eth0", 5)) == "fe80::/64"
    assert client_network(None) == ""
    assert retry_after(0.001) == {"Retry-After": "1"}
    assert retry_after(2.5) == {"Retry-After": "3"}


@pytest.mark.parametrize(
    ("caller", "method", "path", "expected_status"),
    [
        ("viewer", "GET", "/v1/runs", 200),
        ("worker1", "POST", f"/v1/jobs/{MISSING}/heartbeat", 404),
    ],
)
def test_too_many_requests_are_refused_with_retry_after(
    migrated: Settings, caller: str, method: str, path: str, expected_status: int
) -> None:
    body = {"attempt": 1, "progress": {"stage": "encode"}} if method == "POST" else None
    with limited(migrated, requests_per_s_max=2) as harness:
        seen = []
        # On a slow machine, the bucket may be partly refilled between the requests.
        while len(seen) < 50 and 429 not in seen:
            answer = harness.call(caller, method, path, body)
            seen.append(answer.status_code)
        assert seen[:2] == [expected_status, expected_status]
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        assert f"{caller} makes more than 2 requests a second" in answer.json()["detail"]
        assert harness.call("submitter", "GET", "/v1/runs").status_code == 200
        # The limit also applies if the scheme is in lower case or followed by two spaces.
        again = {"Authorization": f"bearer  token-{caller}"}
        seen = [harness.call(None, method, path, body, headers=again).status_code for _ in range(9)]
        assert 429 in seen


def test_unknown_tokens_are_limited_and_valid_ones_are_not(migrated: Settings) -> None:
    with limited(migrated, failed_logins_per_minute_max=3) as harness:

        def guess(number: int, method: str = "GET", path: str = "/v1/runs") -> Any:
            headers = {"Authorization": f"Bearer guess-{number}"}
            return harness.call(None, method, path, headers=headers)

        assert [guess(number).status_code for number in range(3)] == [401] * 3
        refused = guess(3)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert "unknown tokens" in refused.json()["detail"]
        assert guess(4, "POST", "/v1/jobs").status_code == 429
        assert harness.call("viewer", "GET", "/v1/runs").status_code == 200
        assert harness.call("submitter", "POST", "/v1/jobs", factories.job()).status_code == 201
        # A request without a token is not a failed login.
        assert harness.call(None, "GET", "/v1/runs").status_code == 401


def test_unknown_tokens_cost_few_queries(migrated: Settings) -> None:
    """The limit applies before the query, not after it."""
    with limited(migrated, failed_logins_per_minute_max=3) as harness:
        queries = 0

        def count(*_: Any) -> None:
            nonlocal queries
            queries += 1

        event.listen(harness.services.reader._engine, "begin", count)

        async def guess_all() -> list[str]:
            authenticate = harness.services.authenticator.authenticate
            guesses = [authenticate(f"Bearer guess-{n}", ("192.0.2.1", 1)) for n in range(600)]
            valid = authenticate("Bearer token-viewer", ("192.0.2.1", 1))
            found = await asyncio.gather(
                *guesses[:400], valid, *guesses[400:], return_exceptions=True
            )
            return [getattr(answer, "name", type(answer).__name__) for answer in found]

        with harness.client.portal() as portal:
            answers = Counter(portal.call(guess_all))
        assert answers == {
            "NotAuthorizedException": 3,
            "TooManyRequestsException": 597,
            "viewer": 1,
        }
        assert queries <= 3 + 1


def test_all_agents_reconnect_through_a_load_balancer(migrated: Settings) -> None:
    """After the start of a master, no token is cached, and all agents have the same address."""
    agents = [
        Credential(name=f"a{n}", role=Role.AGENT, node=f"a{n}", sha256=token_sha256(f"token-{n}"))
        for n in range(1000)
    ]

    def add(work: UnitOfWork) -> None:
        for agent in agents:
            credentials.add_token(work.connection, agent, "test", work.now)

    with limited(migrated, trusted_proxies=("192.0.2.0/24",)) as harness:

        async def reconnect() -> list[Any]:
            await harness.services.writer.write(add)
            authenticate = harness.services.authenticator.authenticate
            valid = [authenticate(f"Bearer token-{n}", ("192.0.2.1", 1)) for n in range(1000)]
            unknown = [authenticate(f"Bearer guess-{n}", ("192.0.2.1", 1)) for n in range(100)]
            gathered = asyncio.gather(*unknown, *valid, return_exceptions=True)
            return await asyncio.wait_for(gathered, TIMEOUT_S)

        with harness.client.portal() as portal:
            found = portal.call(reconnect)
        assert Counter(type(item).__name__ for item in found[:100]) == {
            "NotAuthorizedException": 100
        }
        assert [getattr(item, "name", item) for item in found[100:]] == [a.name for a in agents]


def test_a_full_queue_of_lookups_is_reported_as_overload(
    migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffrtmp_master.auth.token_lookup.TOKENS_MAX", 5)
    with limited(migrated, trusted_proxies=("192.0.2.1",)) as harness:

        async def guess_all() -> list[Any]:
            authenticate = harness.services.authenticator.authenticate
            guesses = [authenticate(f"Bearer guess-{n}", ("192.0.2.1", 1)) for n in range(8)]
            return await asyncio.gather(*guesses, return_exceptions=True)

        with harness.client.portal() as portal:
            found = portal.call(guess_all)
        assert [item.status_code for item in found] == [401] * 5 + [503] * 3
        assert found[-1].headers == {"Retry-After": "2"}


def test_the_authenticator_caches_a_limited_number_of_tokens(
    migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffrtmp_master.auth.authentication._CACHED_TOKENS_MAX", 2)
    with limited(migrated) as harness:
        for _ in range(2):
            for caller in ("viewer", "submitter", "admin", "worker1"):
                assert harness.call(caller, "GET", "/v1/sources/x").status_code in (403, 404, 422)
        assert len(harness.services.authenticator._cache) == 2


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
