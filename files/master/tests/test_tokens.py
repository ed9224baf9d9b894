"""Tests of tokens: creation, lists without secrets, revocation, expiry, and recorded use."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from ffrtmp_master.auth.authentication import TokenAuthenticator
from ffrtmp_master.services import Services
from ffrtmp_master.store import credentials
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.errors import ConflictError
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.models import Role
from sqlalchemy import text


def create_token(harness: Any, name: str = "ci", role: str = "submitter", **more: Any) -> Any:
    return harness.ok("admin", "POST", "/v1/tokens", {"name": name, "role": role, **more})


def call_with_token(harness: Any, token: str, method: str = "GET", path: str = "/v1/runs") -> Any:
    return harness.call(None, method, path, headers={"Authorization": f"Bearer {token}"})


def listed(harness: Any, name: str) -> Any:
    items = harness.ok("admin", "GET", "/v1/tokens")["items"]
    return next(item for item in items if item["name"] == name)


def test_a_token_is_shown_once_and_stored_as_a_digest(harness: Any) -> None:
    body = {"name": "ci", "role": "submitter"}
    answer = harness.call("admin", "POST", "/v1/tokens", body)
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/tokens/ci"
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json()["token"]
    assert len(token) >= 43
    assert call_with_token(harness, token).status_code == 200
    assert call_with_token(harness, token, "GET", "/v1/tokens").status_code == 403
    shown = harness.call("admin", "GET", "/v1/tokens").text
    assert token not in shown
    assert token_sha256(token) not in shown
    assert (
        listed(harness, "ci")
        == harness.ok("admin", "GET", "/v1/tokens/ci")
        == {
            "name": "ci",
            "role": "submitter",
            "node": None,
            "expires_at": None,
            "created_at": "2026-01-01T00:00:00Z",
            "created_by": "admin",
            "last_used_at": None,
            "is_provisioned": False,
        }
    )

    def rows(work: UnitOfWork) -> str:
        return str(work.connection.execute(text("SELECT * FROM credentials")).all())

    async def stored_rows() -> str:
        found: str = await harness.services.writer.write(rows)
        return found

    with harness.client.portal() as portal:
        everything = portal.call(stored_rows)
    assert token_sha256(token) in everything
    assert token not in everything


def test_an_agents_token_works_for_its_node(harness: Any) -> None:
    token = create_token(harness, "w3", "agent", node="worker3")["token"]
    headers = {"Authorization": f"Bearer {token}"}
    for node, status in (("worker3", 200), ("worker1", 403)):
        body = harness.registration(node)
        assert harness.call(
            None, "PUT", f"/v1/nodes/{node}", body, headers=headers
        ).status_code == (status)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "role": "agent"}, 422),
        ({"name": "x", "role": "admin", "node": "worker1"}, 422),
        ({"name": "x", "role": "viewer", "expires_at": "2025-12-31T23:59:59Z"}, 422),
        ({"name": "x", "role": "viewer", "expires_at": "9999-12-31T23:59:59-14:00"}, 422),
        ({"name": "x", "role": "viewer", "expires_at": "2030-01-01T00:00:00"}, 400),
        ({"name": "x", "role": "root"}, 400),
        ({"name": "x\n", "role": "viewer"}, 422),
        ({"name": "x", "role": "viewer", "sha256": "0" * 64}, 400),
        ({"name": "viewer", "role": "viewer"}, 409),
    ],
)
def test_an_invalid_token_request_is_refused(harness: Any, body: Any, status: int) -> None:
    answer = harness.call("admin", "POST", "/v1/tokens", body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert harness.ok("admin", "GET", "/v1/audit")["items"] == []


def test_a_token_name_is_unique(harness: Any) -> None:
    token = create_token(harness)["token"]
    again = harness.call("admin", "POST", "/v1/tokens", {"name": "ci", "role": "viewer"})
    assert again.status_code == 409
    assert "revoke it first" in again.json()["detail"]
    assert call_with_token(harness, token).status_code == 200


def test_a_revoked_token_is_refused_immediately(harness: Any) -> None:
    token = create_token(harness)["token"]
    assert call_with_token(harness, token).status_code == 200
    assert harness.call("admin", "DELETE", "/v1/tokens/ci").status_code == 204
    assert call_with_token(harness, token).status_code == 401
    assert harness.call("admin", "DELETE", "/v1/tokens/ci").status_code == 404
    assert create_token(harness)["token"] != token


def test_a_token_of_the_operators_file_cannot_be_revoked(harness: Any) -> None:
    answer = harness.call("admin", "DELETE", "/v1/tokens/viewer")
    assert answer.status_code == 409
    assert "the credentials file lists" in answer.json()["detail"]
    assert harness.call("viewer", "GET", "/v1/runs").status_code == 200
    assert listed(harness, "viewer")["is_provisioned"] is True


def test_a_token_expires(harness: Any) -> None:
    create_token(harness, "other")
    token = create_token(harness, expires_at="2026-01-01T02:00:00+01:00")["token"]
    harness.clock.advance(3599)
    assert call_with_token(harness, token).status_code == 200
    harness.clock.advance(1)
    refused = call_with_token(harness, token)
    assert refused.status_code == 401
    assert "expired" in refused.json()["detail"]
    hot = call_with_token(harness, token, "POST", "/v1/jobs")
    assert hot.status_code == 401
    assert listed(harness, "ci")["expires_at"] == "2026-01-01T01:00:00Z"


def test_the_last_uses_of_tokens_are_written_together(harness: Any) -> None:
    token = create_token(harness)["token"]
    for _ in range(3):
        assert call_with_token(harness, token).status_code == 200
    assert listed(harness, "ci")["last_used_at"] is None
    harness.clock.advance(20)
    with harness.client.portal() as portal:
        portal.call(harness.services.authenticator.record_uses)
    assert listed(harness, "ci")["last_used_at"] == "2026-01-01T00:00:20Z"
    assert listed(harness, "admin")["last_used_at"] == "2026-01-01T00:00:20Z"
    assert listed(harness, "worker3")["last_used_at"] is None
    harness.clock.advance(20)
    with harness.client.portal() as portal:
        portal.call(harness.services.authenticator.record_uses)
    assert listed(harness, "ci")["last_used_at"] == "2026-01-01T00:00:20Z"


def test_lists_of_tokens_are_paged(harness: Any) -> None:
    for number in range(5):
        create_token(harness, f"t{number}")
    names: list[str] = []
    cursor = ""
    while cursor is not None:
        page = harness.ok("admin", "GET", "/v1/tokens", params={"limit": 2, "cursor": cursor})
        assert len(page["items"]) <= 2
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(names) == len(set(names)) == 6 + 5
    assert harness.call("admin", "GET", "/v1/tokens?limit=0").status_code == 400
    assert harness.call("admin", "GET", "/v1/tokens?limit=1001").status_code == 400


def test_synchronizing_preserves_tokens_of_the_api(harness: Any) -> None:
    token = create_token(harness)["token"]
    file = [Credential(name="admin", role=Role.ADMIN, sha256=token_sha256("token-admin"))]

    def synchronize(work: UnitOfWork) -> Any:
        return credentials.sync(work.connection, file, work.now)

    async def run() -> Any:
        return await harness.services.writer.write(synchronize)

    with harness.client.portal() as portal:
        done = portal.call(run)
        assert portal.call(run).is_changed is False
    assert done.added == done.changed == ()
    assert "viewer" in done.removed
    harness.services.authenticator.evict_all()
    assert call_with_token(harness, token).status_code == 200
    assert harness.call("viewer", "GET", "/v1/runs").status_code == 401
    file.append(Credential(name="ci", role=Role.VIEWER, sha256="1" * 64))
    with (
        harness.client.portal() as portal,
        pytest.raises(ConflictError, match="created over the API"),
    ):
        portal.call(run)


def test_a_token_revoked_during_its_lookup_is_not_cached(harness: Any) -> None:
    """Revoke a token after its lookup has begun and before the lookup has ended."""
    token = create_token(harness)["token"]
    services: Services = harness.services

    class SlowReader:
        """A reader that reads immediately, but returns the result only when it is permitted to."""

        def __init__(self) -> None:
            self.has_read = asyncio.Event()
            self.may_continue = asyncio.Event()

        async def read(self, query: Any) -> Any:
            found = await services.reader.read(query)
            self.has_read.set()
            await self.may_continue.wait()
            return found

    async def race() -> None:
        reader: Any = SlowReader()
        authenticator = TokenAuthenticator(
            reader, services.writer, services.clock, services.settings, LoopRegistry()
        )
        late = asyncio.create_task(authenticator.authenticate(f"Bearer {token}", None))
        await reader.has_read.wait()
        await services.writer.write(lambda work: credentials.remove_token(work.connection, "ci"))
        authenticator.evict_all()
        reader.may_continue.set()
        assert (await late).name == "ci"
        assert await authenticator.is_good(f"Bearer {token}") is False

    with harness.client.portal() as portal:
        portal.call(race)
    assert harness.services.clock() - harness.clock.now == timedelta(0)
