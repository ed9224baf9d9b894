"""Tests of the metrics of nodes and unfinished runs, which the exporter of health shows."""

from typing import Any

import pytest
from ffrtmp_master.exporters.health import FarmHealth
from ffrtmp_master.exporters.polling import PollingCollector
from ffrtmp_shared.client import MasterUnreachableError
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.models import RunPage

from .exporter_api import (
    Api,
    finish_job,
    value,
)


def test_health_shows_nodes_and_unfinished_runs(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx265")
    ready_harness.run(ready_harness.suite(rates=3))
    finish_job(ready_harness)
    ready_harness.clock.advance(61)
    ready_harness.claim("worker1")
    health = FarmHealth()
    assert value(health, "ffrtmp_master_ready") == 0
    health.refresh(Api(ready_harness))
    assert value(health, "ffrtmp_master_ready") == 1
    assert value(health, "ffrtmp_node_up", node="worker1") == 1
    assert value(health, "ffrtmp_node_up", node="worker2") == 0
    assert value(health, "ffrtmp_node_state", node="worker2", state="offline") == 1
    assert value(health, "ffrtmp_node_state", node="worker2", state="active") == 0
    seen = ready_harness.clock().timestamp()
    assert value(health, "ffrtmp_node_last_seen_timestamp_seconds", node="worker1") == seen
    assert value(health, "ffrtmp_run_jobs", state="leased") == 1
    assert value(health, "ffrtmp_run_jobs", state="queued") == 2


def test_a_node_that_was_drained_and_stopped_is_not_reported_as_down(ready_harness: Any) -> None:
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    health = FarmHealth()
    health.refresh(Api(ready_harness))
    assert value(health, "ffrtmp_node_up", node="worker1") == 1
    ready_harness.clock.advance(61)
    health.refresh(Api(ready_harness))
    assert value(health, "ffrtmp_node_up", node="worker1") is None
    assert value(health, "ffrtmp_node_state", node="worker1", state="offline") == 1


def test_all_unfinished_runs_are_counted_whatever_the_page_size(ready_harness: Any) -> None:
    api = Api(ready_harness)
    unfinished = [ready_harness.run()["id"] for _ in range(3)]
    for _ in range(4):
        run = ready_harness.run()["id"]
        ready_harness.ok("submitter", "POST", f"/v1/runs/{run}/cancel")
    for size in (1, 2, 200):
        api.page_size = size
        health = FarmHealth()
        health.refresh(api)
        assert value(health, "ffrtmp_runs", state="queued") == len(unfinished)
        assert value(health, "ffrtmp_run_jobs", state="queued") == len(unfinished)
        assert value(health, "ffrtmp_runs", state="canceled") is None


@pytest.mark.slow
def test_runs_that_end_are_counted_once(ready_harness: Any) -> None:
    def cancel(run: str) -> None:
        ready_harness.ok("submitter", "POST", f"/v1/runs/{run}/cancel")

    def ended() -> tuple[float | None, float | None]:
        for _ in range(2):
            health.refresh(api)
        return tuple(  # type: ignore[return-value]
            value(health, "ffrtmp_runs_ended_total", state=s) for s in ("succeeded", "canceled")
        )

    api, health = Api(ready_harness), FarmHealth()
    api.page_size = 1
    before = ready_harness.run()["id"]
    cancel(ready_harness.run()["id"])
    assert ended() == (0, 0), "runs that ended before the exporter was started do not count"
    ready_harness.result(ready_harness.claim("worker1"))
    assert ready_harness.run_now(before)["state"] == "succeeded"
    assert ended() == (1, 0)
    # Two runs begin and end between two reads.
    for _ in range(2):
        cancel(ready_harness.run()["id"])
    assert ended() == (1, 2)
    later = ready_harness.run()["id"]
    assert ended() == (1, 2)
    cancel(later)
    assert ended() == (1, 3)
    ready_harness.ok("submitter", "POST", f"/v1/runs/{later}/retry")
    assert ended() == (1, 3)
    cancel(later)
    assert ended() == (1, 4)


def test_a_run_that_is_created_during_a_read_is_counted_when_it_ends(ready_harness: Any) -> None:
    created: list[str] = []

    class Interrupted(Api):
        def run_page(self, cursor: str = "", *, only_unfinished: bool = False) -> RunPage:
            if only_unfinished and len(created) < 2:
                created.append(ready_harness.run()["id"])
            page = super().run_page(cursor, only_unfinished=only_unfinished)
            if not only_unfinished and len(created) < 2:
                created.append(ready_harness.run()["id"])
            return page

    health, api = FarmHealth(), Interrupted(ready_harness)
    health.refresh(api)
    assert len(created) == 2
    for run in created:
        ready_harness.ok("submitter", "POST", f"/v1/runs/{run}/cancel")
    for _ in range(2):
        health.refresh(api)
        assert value(health, "ffrtmp_runs_ended_total", state="canceled") == 2


def test_a_master_that_is_not_ready_is_not_a_successful_read(ready_harness: Any) -> None:
    """Its database is unavailable, for example; then nothing is read, and the data get older."""
    now_s = [1000.0]
    health, api = FarmHealth(), Api(ready_harness)
    refresher = PollingCollector(lambda: health.refresh(api), 60, LoopRegistry(), lambda: now_s[0])
    refresher.poll_once()
    api.serves = False
    now_s[0] += 15
    with pytest.raises(MasterUnreachableError, match="not ready"):
        refresher.poll_once()
    assert value(health, "ffrtmp_master_ready") == 0
    assert value(refresher, "ffrtmp_exporter_source_up") == 0
    assert value(refresher, "ffrtmp_exporter_source_last_success_timestamp_seconds") == 1000
    assert [node.name for node in health.known_nodes()] == ["worker1"]


def test_an_unreachable_master_is_reported_and_stale_metrics_are_dropped(
    ready_harness: Any,
) -> None:
    now_s = [1000.0]
    health, api = FarmHealth(), Api(ready_harness)
    refresher = PollingCollector(lambda: health.refresh(api), 60, LoopRegistry(), lambda: now_s[0])
    last = "ffrtmp_exporter_source_last_success_timestamp_seconds"
    api.is_reachable = False
    assert not health.is_complete()
    with pytest.raises(MasterUnreachableError):
        refresher.poll_once()
    assert health.is_complete(), "an unreachable master is also a state of the farm"
    assert value(refresher, "ffrtmp_exporter_source_up") == 0
    assert value(refresher, last) is None
    api.is_reachable = True
    refresher.poll_once()
    assert value(refresher, "ffrtmp_exporter_source_up") == 1
    assert value(refresher, last) == 1000
    assert value(health, "ffrtmp_node_up", node="worker1") == 1
    api.is_reachable = False
    now_s[0] += 15
    with pytest.raises(MasterUnreachableError):
        refresher.poll_once()
    assert value(refresher, "ffrtmp_exporter_source_up") == 0
    assert value(refresher, last) == 1000
    assert value(health, "ffrtmp_master_ready") == 0
    assert value(health, "ffrtmp_node_up", node="worker1") is None
