"""Tests of the control encodes of a run."""

from datetime import timedelta
from typing import Any

from ffrtmp_master.runs import control_encodes
from ffrtmp_shared.control_encode import SCENARIO

from .adaptive_runs import rounds


def test_a_control_encode_begins_and_ends_a_run(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx265")
    run = ready_harness.run(ready_harness.suite(repeats=2, more="control: true\n"))
    # A node that does not have the encoder of the control encode gets no control encodes.
    assert run["unsettled_nodes"] == ["worker1"]
    assert run["counts"]["queued"] == 3
    speeds = {SCENARIO.name: iter([4.0, 3.0])}
    found = rounds(ready_harness, speeds)
    assert found == [[SCENARIO.name, "clip/libx264/1000k", "clip/libx264/1000k"], [SCENARIO.name]]
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["succeeded"]) == ("succeeded", 4)
    (drift,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["drifts"]
    assert drift == {
        "node": "worker1",
        "n": 2,
        "first_speed": 4.0,
        "last_speed": 3.0,
        "ratio": 0.75,
        # The history of the node is too short for a range.
        "is_unusual": False,
        "low": None,
        "high": None,
    }


def test_a_long_run_has_intermediate_control_encodes(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=4, more="control: true\n"))
    first, second = ready_harness.claim("worker1"), None
    assert ready_harness.result(first).is_success
    second = ready_harness.claim("worker1")
    ready_harness.clock.advance(control_encodes.EVERY.total_seconds() + 1)
    ready_harness.run_maintenance()
    # The lease of the second job has expired. The control encode must precede its next attempt.
    assert second is not None
    assert ready_harness.run_now(run["id"])["counts"]["queued"] >= 3
    ready_harness.clock.advance(60)
    ready_harness.register("worker1")
    assert ready_harness.claim("worker1")["job"]["scenario"]["name"] == SCENARIO.name


def test_control_encodes_are_six_hours_apart() -> None:
    assert timedelta(hours=6) == control_encodes.EVERY
