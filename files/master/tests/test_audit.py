"""Tests of the audit log.

Every action of an operator must be recorded in the transaction that performs it.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy
from ffrtmp_master import cli
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import audit, schema
from ffrtmp_master.store.engine import reading_engine
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_shared.credentials import token_sha256


def actions(harness: Any) -> list[tuple[str, str, str]]:
    items = harness.ok("admin", "GET", "/v1/audit")["items"]
    return [(item["actor"], item["action"], item["target"]) for item in reversed(items)]


def test_every_action_is_recorded(ready_harness: Any) -> None:
    harness = ready_harness
    harness.ok("admin", "POST", "/v1/tokens", {"name": "ci", "role": "viewer"})
    harness.ok("admin", "DELETE", "/v1/tokens/ci")
    harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "active"})
    run = harness.run()["id"]
    harness.ok("admin", "POST", f"/v1/runs/{run}/cancel")
    harness.ok("submitter", "POST", f"/v1/runs/{run}/retry")
    job = harness.submit()["id"]
    harness.ok("submitter", "PATCH", f"/v1/jobs/{job}", {"priority": "high"})
    harness.ok("admin", "POST", f"/v1/jobs/{job}/cancel")
    again = harness.ok("submitter", "POST", f"/v1/jobs/{job}/retry")["id"]
    harness.register("worker2")
    harness.ok("admin", "DELETE", "/v1/nodes/worker2")
    assert actions(harness) == [
        ("admin", "token created", "ci"),
        ("admin", "token revoked", "ci"),
        ("admin", "node changed", "worker1"),
        ("admin", "node changed", "worker1"),
        ("submitter", "run created", run),
        ("admin", "run canceled", run),
        ("submitter", "run retried", run),
        ("submitter", "job changed", job),
        ("admin", "job canceled", job),
        ("submitter", "job retried", job),
        ("admin", "node removed", "worker2"),
    ]
    newest_first = harness.ok("admin", "GET", "/v1/audit")["items"]
    assert newest_first[1]["details"] == {"superseded_by": again}
    assert newest_first[3]["details"] == {"before": "medium", "priority": "high"}
    assert newest_first[-1]["details"] == {"role": "viewer", "node": None, "expires_at": None}
    assert {item["at"] for item in newest_first} == {"2026-01-01T00:00:00Z"}


def test_refused_and_repeated_requests_are_not_recorded(ready_harness: Any) -> None:
    harness = ready_harness
    missing = "00000000-0000-7000-8000-000000000000"
    job = harness.submit()["id"]
    for caller, method, path, body, status in (
        ("admin", "DELETE", "/v1/tokens/missing", None, 404),
        ("admin", "PATCH", "/v1/nodes/missing", {"state": "draining"}, 404),
        ("admin", "DELETE", "/v1/nodes/missing", None, 404),
        ("submitter", "POST", f"/v1/jobs/{missing}/cancel", None, 404),
        ("submitter", "POST", f"/v1/jobs/{job}/retry", None, 409),
        ("submitter", "POST", f"/v1/runs/{missing}/cancel", None, 404),
        ("submitter", "POST", f"/v1/runs/{missing}/retry", None, 404),
        ("submitter", "POST", "/v1/runs", {"suite": harness.suite(sha256="0" * 64)}, 422),
        ("viewer", "POST", f"/v1/jobs/{job}/cancel", None, 403),
    ):
        assert harness.call(caller, method, path, body).status_code == status, path
    assert actions(harness) == []
    run = harness.run(headers={"Idempotency-Key": "k"})["id"]
    assert harness.run(headers={"Idempotency-Key": "k"})["id"] == run
    assert actions(harness) == [("submitter", "run created", run)]


@pytest.mark.parametrize("caller", ["viewer", "submitter", "worker1"])
def test_the_log_is_for_administrators(harness: Any, caller: str) -> None:
    assert harness.call(caller, "GET", "/v1/audit").status_code == 403


def test_the_log_is_paged(harness: Any) -> None:
    for number in range(5):
        harness.ok("admin", "POST", "/v1/tokens", {"name": f"t{number}", "role": "viewer"})
    targets: list[str] = []
    cursor = ""
    while cursor is not None:
        page = harness.ok("admin", "GET", "/v1/audit", params={"limit": 2, "cursor": cursor})
        targets += [item["target"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert targets == ["t4", "t3", "t2", "t1", "t0"]
    for cursor in ("x", "-1", "9" * 30):
        answer = harness.call("admin", "GET", "/v1/audit", params={"cursor": cursor})
        assert answer.status_code == 422, cursor


def test_synchronizing_is_recorded_only_if_it_changes_something(
    migrated: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "master.yml"
    config.write_text(json.dumps(msgspec.to_builtins(migrated, enc_hook=str)))
    file = tmp_path / "credentials.yml"
    wanted = [
        {"name": "admin", "role": "admin", "sha256": token_sha256("another")},
        {"name": "ann", "role": "viewer", "sha256": token_sha256("ann")},
    ]
    file.write_text(json.dumps({"credentials": wanted}))
    command = ["ffrtmp-master", "--config", str(config), "sync-credentials", str(file)]
    monkeypatch.setattr(sys, "argv", command)
    cli.main()
    cli.main()
    engine = reading_engine(migrated.database_url, migrated.database_password())
    with engine.connect() as connection:
        (entry,) = audit.page_of_entries(connection, None, 10).items
    engine.dispose()
    assert (entry.actor, entry.action, entry.target) == (
        "command line",
        "tokens synchronized",
        "credentials",
    )
    assert entry.details["added"] == ["ann"]
    assert entry.details["changed"] == ["admin"]
    assert entry.details["removed"] == ["submitter", "viewer", "worker1", "worker2", "worker3"]
    assert token_sha256("ann") not in str(entry.details)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("token made", "token created"),
        ("tokens synchronised", "tokens synchronized"),
        ("run retried", "run retried"),
    ],
)
def test_entries_of_earlier_releases_are_readable(harness: Any, stored: str, shown: str) -> None:
    """Read entries with values that release 0.1.0 stored."""

    def insert(work: UnitOfWork) -> None:
        work.connection.execute(
            sqlalchemy.insert(schema.audit).values(
                at=datetime(2026, 1, 1, tzinfo=UTC),
                who="operator",
                deed=stored,
                target="dashboard",
                details={},
            )
        )

    with harness.client.portal() as portal:
        portal.call(harness.services.writer.write, insert)
    (entry,) = harness.ok("admin", "GET", "/v1/audit")["items"]
    assert (entry["actor"], entry["action"], entry["target"]) == ("operator", shown, "dashboard")
