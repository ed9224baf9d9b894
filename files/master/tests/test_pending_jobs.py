"""Tests of the reasons why the jobs of a run wait, and of the nodes that a run omits."""

from typing import Any

import factories
import msgspec
import pytest
from ffrtmp_master.queue.pending_jobs import MAX_MESSAGES
from ffrtmp_master.store import nodes
from ffrtmp_master.store.unit_of_work import UnitOfWork
from ffrtmp_shared.node_models import Registration

READY = "nodes claim them after the jobs that come first"


def pending(harness: Any, run_id: str) -> list[tuple[str, str, int]]:
    run = harness.run_now(run_id)
    listed = {item["id"]: item for item in harness.every("/v1/runs")}
    assert listed[run_id]["pending"] == run["pending"]
    return [(item["reason"], item["message"], item["jobs"]) for item in run["pending"]]


def drain(harness: Any, node: str, state: str = "draining") -> None:
    harness.ok("admin", "PATCH", f"/v1/nodes/{node}", {"state": state})


def test_a_run_states_why_its_jobs_wait(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    run = ready_harness.run(ready_harness.suite(rates=2))
    assert [item["jobs"] for item in run["pending"]] == [4]
    assert pending(ready_harness, run["id"]) == [("ready", READY, 4)]
    drain(ready_harness, "worker2")
    draining = ("no_node", "no suitable node is active: worker2 is draining", 2)
    assert pending(ready_harness, run["id"]) == [draining, ("ready", READY, 2)]
    claim = ready_harness.claim("worker1")
    busy = ("busy", "the suitable nodes run other jobs", 1)
    assert pending(ready_harness, run["id"]) == [draining, busy]
    ready_harness.heartbeat(claim)
    ready_harness.fail(claim, "network")
    found = pending(ready_harness, run["id"])
    assert found[0] == draining
    assert found[1][0] == "backoff"
    assert found[1][1].startswith("after a failed attempt, not before 2026-01-01T")
    assert found[2] == ("ready", READY, 1)
    drain(ready_harness, "worker2", "active")
    assert [item[0] for item in pending(ready_harness, run["id"])] == ["backoff", "ready"]
    assert ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")["pending"] == []
    assert pending(ready_harness, run["id"]) == []
    again = ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/retry")
    assert [item["jobs"] for item in again["pending"]] == [4]


def test_a_job_that_no_node_can_run_names_what_is_missing(ready_harness: Any) -> None:
    text = ready_harness.suite(encoders=("libx265",), more="when_unmet: wait\n")
    run = ready_harness.run(text)
    message = "no node meets the requirements: worker1 lacks encoder libx265"
    assert pending(ready_harness, run["id"]) == [("no_node", message, 1)]


@pytest.mark.parametrize("state", ["draining", "offline"])
def test_a_run_names_the_nodes_that_it_omits(ready_harness: Any, state: str) -> None:
    ready_harness.register("worker2")
    ready_harness.register("worker3", "libx265")
    if state == "offline":
        ready_harness.clock.advance(61)
        ready_harness.register("worker1")
    else:
        drain(ready_harness, "worker2")
        drain(ready_harness, "worker3")
    omitted = [{"node": "worker2", "state": state}]
    text = ready_harness.suite(rates=2)
    plan = ready_harness.ok("submitter", "POST", "/v1/runs/plan", {"suite": text})
    assert (plan["nodes"], plan["omitted_nodes"]) == (["worker1"], omitted)
    run = ready_harness.run(text)
    assert run["omitted_nodes"] == omitted
    # The run still names the node after it has become active.
    ready_harness.register("worker2")
    drain(ready_harness, "worker2", "active")
    assert ready_harness.run_now(run["id"])["omitted_nodes"] == omitted


def test_a_run_whose_jobs_any_node_may_run_omits_no_node(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    drain(ready_harness, "worker2")
    run = ready_harness.run(ready_harness.suite(placement="any"))
    assert run["omitted_nodes"] == []


def test_the_number_of_messages_is_bounded(ready_harness: Any) -> None:
    services, count = ready_harness.services, MAX_MESSAGES + 4

    def register_many(work: UnitOfWork) -> None:
        for number in range(count):
            document = factories.registration(f"node{number:02}")
            nodes.register(work.connection, msgspec.convert(document, Registration), work.now)

    with ready_harness.client.portal() as portal:
        portal.call(services.writer.write, register_many)
    run = ready_harness.run(ready_harness.suite(repeats=2))
    ready_harness.clock.advance(61)
    ready_harness.register("worker1")
    found = pending(ready_harness, run["id"])
    assert len(found) == MAX_MESSAGES + 2
    assert found[0] == ("no_node", "no suitable node is active: node00 is offline", 2)
    assert found[-2] == ("no_node", "other reasons, which the jobs state", 8)
    assert found[-1] == ("ready", READY, 2)
