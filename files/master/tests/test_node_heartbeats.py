"""Tests of the heartbeats of nodes, on a real master with each database."""

from typing import Any

import pytest

_BEAT = {
    "clock": {"offset_s": -0.25, "uncertainty_s": 0.01},
    "failed_unit_count": 40,
    "failed_units": ["nginx.service", r"dev-disk-by\x2duuid-1.swap"],
}
_PATH = "/v1/nodes/worker1/heartbeat"


def node(harness: Any) -> Any:
    (found,) = harness.ok("viewer", "GET", "/v1/nodes")["items"]
    return found


def test_a_heartbeat_is_stored_and_answered_with_the_time(harness: Any) -> None:
    harness.register("worker1")
    assert node(harness)["heartbeat"] is None
    assert node(harness)["heartbeat_at"] is None
    harness.clock.advance(5)
    assert harness.ok("worker1", "POST", _PATH, _BEAT) == {"time": "2026-01-01T00:00:05Z"}
    assert node(harness)["heartbeat"] == _BEAT
    assert node(harness)["heartbeat_at"] == "2026-01-01T00:00:05Z"
    # A further heartbeat replaces the first one, and a registration preserves it.
    harness.ok("worker1", "POST", _PATH, {"failed_unit_count": 0})
    harness.register("worker1")
    expected = {"clock": None, "failed_unit_count": 0, "failed_units": []}
    assert node(harness)["heartbeat"] == expected


def test_a_heartbeat_does_not_make_a_node_online(harness: Any) -> None:
    """An agent whose main loop has stopped must still be reported as offline."""
    harness.register("worker1")
    harness.clock.advance(1000)
    harness.ok("worker1", "POST", _PATH, _BEAT)
    assert node(harness)["state"] == "offline"


def test_only_the_agent_of_a_node_may_send_its_heartbeats(harness: Any) -> None:
    harness.register("worker1")
    harness.register("worker2")
    assert harness.call("worker2", "POST", _PATH, _BEAT).status_code == 403
    assert harness.call("viewer", "POST", _PATH, _BEAT).status_code == 403
    assert harness.call("worker2", "POST", "/v1/nodes/worker3/heartbeat", {}).status_code == 403


def test_a_removed_node_is_unknown(harness: Any) -> None:
    assert harness.call("worker1", "POST", _PATH, _BEAT).status_code == 404


@pytest.mark.parametrize(
    "beat",
    [
        {"failed_units": ["x.service"] * 33},
        {"failed_units": ["x" * 256]},
        {"failed_units": ["a b"]},
        {"failed_unit_count": -1},
        {"clock": {"offset_s": 1e19, "uncertainty_s": 0}},
        {"clock": {"offset_s": 0, "uncertainty_s": -1}},
        {"unknown": 1},
    ],
)
def test_every_field_is_bounded(harness: Any, beat: Any) -> None:
    harness.register("worker1")
    assert harness.call("worker1", "POST", _PATH, beat).status_code in (400, 422)
    assert node(harness)["heartbeat"] is None
