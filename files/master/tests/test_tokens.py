"""Tokens: made once, listed without what they are, revoked at once, expired, and used."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from ffrtmp_master.auth.authentication import Gate
from ffrtmp_master.services import Farm
from ffrtmp_master.store import credentials
from ffrtmp_master.store.credentials import Credential
from ffrtmp_master.store.errors import ConflictError
from ffrtmp_master.store.unit_of_work import Work
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.models import Role
from sqlalchemy import text


def made(house: Any, name: str = "ci", role: str = "submitter", **more: Any) -> Any:
    return house.ok("admin", "POST", "/v1/tokens", {"name": name, "role": role, **more})


def bearing(house: Any, token: str, method: str = "GET", path: str = "/v1/runs") -> Any:
    return house.call(None, method, path, headers={"Authorization": f"Bearer {token}"})


def listed(house: Any, name: str) -> Any:
    items = house.ok("admin", "GET", "/v1/tokens")["items"]
    return next(item for item in items if item["name"] == name)


def test_a_token_is_shown_once_and_kept_as_a_digest(house: Any) -> None:
    body = {"name": "ci", "role": "submitter"}
    answer = house.call("admin", "POST", "/v1/tokens", body)
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/tokens/ci"
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json()["token"]
    assert len(token) >= 43
    assert bearing(house, token).status_code == 200
    assert bearing(house, token, "GET", "/v1/tokens").status_code == 403
    shown = house.call("admin", "GET", "/v1/tokens").text
    assert token not in shown
    assert token_sha256(token) not in shown
    assert (
        listed(house, "ci")
        == house.ok("admin", "GET", "/v1/tokens/ci")
        == {
            "name": "ci",
            "role": "submitter",
            "node": None,
            "expires_at": None,
            "created_at": "2026-01-01T00:00:00Z",
            "created_by": "admin",
            "last_used_at": None,
            "is_listed": False,
        }
    )

    def rows(work: Work) -> str:
        return str(work.connection.execute(text("SELECT * FROM credentials")).all())

    async def kept() -> str:
        found: str = await house.farm.writer.write(rows)
        return found

    with house.client.portal() as portal:
        everything = portal.call(kept)
    assert token_sha256(token) in everything
    assert token not in everything


def test_an_agents_token_works_for_its_node(house: Any) -> None:
    token = made(house, "w3", "agent", node="worker3")["token"]
    headers = {"Authorization": f"Bearer {token}"}
    for node, status in (("worker3", 200), ("worker1", 403)):
        body = house.registration(node)
        assert house.call(None, "PUT", f"/v1/nodes/{node}", body, headers=headers).status_code == (
            status
        )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "role": "agent"}, 422),
        ({"name": "x", "role": "admin", "node": "worker1"}, 422),
        ({"name": "x", "role": "viewer", "expires_at": "2025-12-31T23:59:59Z"}, 422),
        ({"name": "x", "role": "viewer", "expires_at": "9999-12-31T23:59:59-14:00"}, 422),
        ({"name": "x", "role": "viewer", "expires_at": "2030-01-01T00:00:00"}, 400),
        ({"name": "x", "role": "root"}, 400),
        ({"name": "x\n", "role": "viewer"}, 400),
        ({"name": "x", "role": "viewer", "sha256": "0" * 64}, 400),
        ({"name": "viewer", "role": "viewer"}, 409),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(house: Any, body: Any, status: int) -> None:
    answer = house.call("admin", "POST", "/v1/tokens", body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert house.ok("admin", "GET", "/v1/audit")["items"] == []


def test_a_name_is_given_once(house: Any) -> None:
    token = made(house)["token"]
    again = house.call("admin", "POST", "/v1/tokens", {"name": "ci", "role": "viewer"})
    assert again.status_code == 409
    assert "revoke it first" in again.json()["detail"]
    assert bearing(house, token).status_code == 200


def test_a_revoked_token_is_refused_at_once(house: Any) -> None:
    token = made(house)["token"]
    assert bearing(house, token).status_code == 200
    assert house.call("admin", "DELETE", "/v1/tokens/ci").status_code == 204
    assert bearing(house, token).status_code == 401
    assert house.call("admin", "DELETE", "/v1/tokens/ci").status_code == 404
    assert made(house)["token"] != token


def test_a_token_of_the_operators_file_is_changed_there(house: Any) -> None:
    answer = house.call("admin", "DELETE", "/v1/tokens/viewer")
    assert answer.status_code == 409
    assert "the operator's file lists" in answer.json()["detail"]
    assert house.call("viewer", "GET", "/v1/runs").status_code == 200
    assert listed(house, "viewer")["is_listed"] is True


def test_a_token_expires(house: Any) -> None:
    made(house, "other")
    token = made(house, expires_at="2026-01-01T02:00:00+01:00")["token"]
    house.clock.advance(3599)
    assert bearing(house, token).status_code == 200
    house.clock.advance(1)
    refused = bearing(house, token)
    assert refused.status_code == 401
    assert "expired" in refused.json()["detail"]
    hot = bearing(house, token, "POST", "/v1/jobs")
    assert hot.status_code == 401
    assert listed(house, "ci")["expires_at"] == "2026-01-01T01:00:00Z"


def test_when_a_token_was_used_is_written_for_all_at_once(house: Any) -> None:
    token = made(house)["token"]
    for _ in range(3):
        assert bearing(house, token).status_code == 200
    assert listed(house, "ci")["last_used_at"] is None
    house.clock.advance(20)
    with house.client.portal() as portal:
        portal.call(house.farm.gate.note_uses)
    assert listed(house, "ci")["last_used_at"] == "2026-01-01T00:00:20Z"
    assert listed(house, "admin")["last_used_at"] == "2026-01-01T00:00:20Z"
    assert listed(house, "worker3")["last_used_at"] is None
    house.clock.advance(20)
    with house.client.portal() as portal:
        portal.call(house.farm.gate.note_uses)
    assert listed(house, "ci")["last_used_at"] == "2026-01-01T00:00:20Z"


def test_lists_of_tokens_are_paged(house: Any) -> None:
    for number in range(5):
        made(house, f"t{number}")
    names: list[str] = []
    cursor = ""
    while cursor is not None:
        page = house.ok("admin", "GET", "/v1/tokens", params={"limit": 2, "cursor": cursor})
        assert len(page["items"]) <= 2
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(names) == len(set(names)) == 6 + 5
    assert house.call("admin", "GET", "/v1/tokens?limit=0").status_code == 400
    assert house.call("admin", "GET", "/v1/tokens?limit=1001").status_code == 400


def test_synchronising_leaves_what_was_made_over_the_api(house: Any) -> None:
    token = made(house)["token"]
    file = [Credential(name="admin", role=Role.ADMIN, sha256=token_sha256("token-admin"))]

    def synchronise(work: Work) -> Any:
        return credentials.make_exactly(work.connection, file, work.now)

    async def run() -> Any:
        return await house.farm.writer.write(synchronise)

    with house.client.portal() as portal:
        done = portal.call(run)
        assert portal.call(run).is_changed is False
    assert done.added == done.changed == ()
    assert "viewer" in done.removed
    house.farm.gate.forget()
    assert bearing(house, token).status_code == 200
    assert house.call("viewer", "GET", "/v1/runs").status_code == 401
    file.append(Credential(name="ci", role=Role.VIEWER, sha256="1" * 64))
    with house.client.portal() as portal, pytest.raises(ConflictError, match="made over the API"):
        portal.call(run)


def test_what_is_looked_up_while_it_is_revoked_is_not_believed(house: Any) -> None:
    """The lookup began before the revocation was committed, and ended after it."""
    token = made(house)["token"]
    farm: Farm = house.farm

    class SlowReader:
        """Reads what is there now, and gives it when it may."""

        def __init__(self) -> None:
            self.has_read = asyncio.Event()
            self.may_go_on = asyncio.Event()

        async def read(self, query: Any) -> Any:
            found = await farm.reader.read(query)
            self.has_read.set()
            await self.may_go_on.wait()
            return found

    async def race() -> None:
        reader: Any = SlowReader()
        gate = Gate(reader, farm.writer, farm.clock, farm.settings)
        late = asyncio.create_task(gate.holder(f"Bearer {token}", None))
        await reader.has_read.wait()
        await farm.writer.write(lambda work: credentials.remove(work.connection, "ci"))
        gate.forget()
        reader.may_go_on.set()
        assert (await late).name == "ci"
        assert await gate.is_good(f"Bearer {token}") is False

    with house.client.portal() as portal:
        portal.call(race)
    assert house.farm.clock() - house.clock.now == timedelta(0)
