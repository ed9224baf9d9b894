"""Tests of ffrtmp nodes and ffrtmp token."""

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ffrtmp_client import nodes
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.node_models import NodeSuspicion
from modules.farm import Agent, Farm

from .conftest import Document, Ffrtmp
from .suite_file import write_suite

pytestmark = pytest.mark.usefixtures("profile")


def test_nodes_are_listed(agent: Agent, document: Document, ffrtmp: Ffrtmp) -> None:
    (node,) = document("nodes")["nodes"]
    assert (node["name"], node["state"], node["cpu_count"]) == ("worker1", "active", 2)
    assert "worker1" in ffrtmp("nodes").out


@pytest.mark.usefixtures("agent")
def test_a_suspect_node_is_shown(
    document: Document, ffrtmp: Ffrtmp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real node becomes suspect only after many control encodes (files/master/tests)."""
    assert document("nodes")["nodes"][0]["suspicion"] is None
    suspicion = NodeSuspicion(
        since=datetime(2026, 11, 30, 12, tzinfo=UTC),
        run_id=new_id(),
        speed=1.7,
        ratio=0.85,
        low=1.9,
        high=2.1,
    )
    found = [
        node | {"suspicion": msgspec.to_builtins(suspicion)}
        for node in _nodes_of(document, monkeypatch)
    ]
    monkeypatch.setattr(nodes, "all_nodes", lambda _master: found)
    assert document("nodes")["nodes"][0]["suspicion"]["ratio"] == 0.85
    assert "active, suspect" in ffrtmp("nodes").out
    assert f"(-15.0 %), usual are 1.90 to 2.10 x; results of run {suspicion.run_id}" in (
        ffrtmp("nodes", "show", "worker1").out
    )


def _nodes_of(document: Document, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the nodes as the master returns them."""
    found: list[dict[str, Any]] = []
    real = nodes.all_nodes
    with monkeypatch.context() as patched:
        patched.setattr(nodes, "all_nodes", lambda master: found.extend(real(master)) or found)
        document("nodes")
    return found


def test_a_node_is_drained_and_resumed(agent: Agent, document: Document, tmp_path: Path) -> None:
    document("run", str(write_suite(tmp_path)), "--detach")
    claim = agent.claim()
    drained = document("nodes", "drain", "worker1")
    assert drained["node"]["state"] == "draining"
    assert drained["active_jobs"] == [str(claim.job.id)]
    agent.succeed(claim)
    waited = document("nodes", "drain", "worker1", "--wait")
    assert waited["active_jobs"] == []
    assert document("nodes", "resume", "worker1")["node"]["state"] == "active"
    assert document("nodes", "show", "worker1")["node"]["encoders"] == ["libx264"]


def test_a_wait_for_an_idle_node_ends(
    agent: Agent, document: Document, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    document("run", str(write_suite(tmp_path)), "--detach")
    claim = agent.claim()
    outcome = ffrtmp("nodes", "drain", "worker1", "--wait", "--wait-timeout-s", "0")
    agent.succeed(claim)
    assert outcome.code == 1
    assert str(claim.job.id) in outcome.err


@pytest.mark.parametrize("command", ["show", "drain", "resume"])
def test_an_unknown_node_is_reported(farm: Farm, ffrtmp: Ffrtmp, command: str) -> None:
    assert ffrtmp("nodes", command, "absent").code == 3
    assert ffrtmp("nodes", command, "../tokens").code == 2


def test_a_token_is_created_used_and_revoked(
    document: Document, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    file = tmp_path / "new.token"
    created = document(
        "token", "create", "new", "--role", "viewer", "--expires-in-days", "2", "-o", str(file)
    )
    assert (created["token"], created["properties"]["role"]) == (None, "viewer")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ffrtmp("runs", "--token-file", str(file)).code == 0
    assert "new" in [entry["name"] for entry in document("token")["tokens"]]
    document("token", "revoke", "new")
    refused = ffrtmp("runs", "--token-file", str(file))
    assert refused.code == 1
    assert "ffrtmp login" in refused.err


def test_a_token_is_printed_without_a_file(document: Document, ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("token", "create", "printed", "--role", "viewer")
    ffrtmp("token", "revoke", "printed")
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.split()) == 1
    assert "only once" in outcome.err


def test_an_unwritable_file_leaves_no_token(document: Document, ffrtmp: Ffrtmp) -> None:
    arguments = ("token", "create", "lost", "--role", "viewer", "-o", "/absent/lost.token")
    outcome = ffrtmp(*arguments)
    assert outcome.code == 1
    assert "/absent/lost.token cannot be written" in outcome.err
    assert "lost" not in [entry["name"] for entry in document("token")["tokens"]]


def test_tokens_that_ansible_manages_are_not_revoked(ffrtmp: Ffrtmp) -> None:
    assert ffrtmp("token", "revoke", "admin").code != 0
    assert ffrtmp("token", "revoke", "absent").code == 3
