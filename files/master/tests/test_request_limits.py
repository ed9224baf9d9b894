"""Tests of the limits of request rates and of unknown tokens."""

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
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.models import Role
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


@pytest.mark.slow
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


@pytest.mark.slow
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
