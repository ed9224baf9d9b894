"""Tests of the results and health exporters, whose metrics come from answers of the API."""

import threading
import time
from datetime import timedelta
from typing import Any

import msgspec
import promtool
import pytest
from ffrtmp_master.exporters.health import FarmHealth, Health
from ffrtmp_master.exporters.polling import PollingCollector
from ffrtmp_master.exporters.results import LatestResults
from ffrtmp_shared import exporter
from ffrtmp_shared.client import MasterUnreachableError
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing
from ffrtmp_shared.measurement import Unavailable
from ffrtmp_shared.models import NodeList, Result, ResultPage, RunPage
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

LABELS = {
    "node": "worker1",
    "encoder": "libx264",
    "rate_point": "1000k",
    "scenario": "clip/libx264/1000k",
}


def value(collector: Collector, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry.get_sample_value(name, labels)


def finish_job(harness: Any) -> Result:
    harness.run()
    harness.result(harness.claim("worker1"))
    items = harness.ok("viewer", "GET", "/v1/results")["items"]
    return msgspec.convert(items[-1], Result)


def test_the_last_result_of_every_scenario_is_shown(ready_harness: Any) -> None:
    latest = LatestResults()

    def page_after(cursor: str) -> ResultPage:
        answer = ready_harness.call("viewer", "GET", "/v1/results", params={"cursor": cursor})
        return msgspec.json.decode(answer.content, type=ResultPage)

    result = finish_job(ready_harness)
    latest.refresh(page_after)
    latest.refresh(page_after)
    assert value(latest, "ffrtmp_results_total", **LABELS) == 1
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) == 2.0
    assert value(latest, "ffrtmp_result_frames_per_second", **LABELS) == 50.0
    assert value(latest, "ffrtmp_result_vmaf_mean", **LABELS) == 91.5
    assert value(latest, "ffrtmp_result_video_rate_bytes_per_second", **LABELS) == 125_000
    assert value(latest, "ffrtmp_result_cpu_seconds", **LABELS) == 3.5
    stored_at = result.stored_at.timestamp()
    assert value(latest, "ffrtmp_result_timestamp_seconds", **LABELS) == stored_at
    ready_harness.clock.advance(30)
    finish_job(ready_harness)
    latest.refresh(page_after)
    assert value(latest, "ffrtmp_results_total", **LABELS) == 2
    assert value(latest, "ffrtmp_result_timestamp_seconds", **LABELS) == stored_at + 30


def test_pages_are_followed_and_nothing_counts_twice(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    second, third = (
        msgspec.structs.replace(first, id=msgspec.convert(f"{n:032x}", type(first.id)))
        for n in (1, 2)
    )
    pages = {
        "": ResultPage(items=(first, second), next_cursor="2"),
        "2": ResultPage(items=(), next_cursor=None),
    }
    latest = LatestResults()
    latest.refresh(pages.__getitem__)
    assert value(latest, "ffrtmp_results_total", **LABELS) == 2
    pages["2"] = ResultPage(items=(third,), next_cursor=None)
    for _ in range(2):
        latest.refresh(pages.__getitem__)
        assert value(latest, "ffrtmp_results_total", **LABELS) == 3


def test_unavailable_values_have_no_sample(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    measured = msgspec.structs.replace(result.measurement, quality=Unavailable(reason="no libvmaf"))
    later = msgspec.structs.replace(
        result, measurement=measured, stored_at=result.stored_at + timedelta(1)
    )
    latest = LatestResults()
    latest.refresh(lambda _: ResultPage(items=(later,), next_cursor=None))
    assert value(latest, "ffrtmp_result_vmaf_mean", **LABELS) is None
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) == 2.0


def test_health_shows_nodes_and_unfinished_runs(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx265")
    ready_harness.run(ready_harness.suite(rates=3))
    finish_job(ready_harness)
    ready_harness.clock.advance(61)
    ready_harness.claim("worker1")

    def read_health() -> Health:
        nodes = msgspec.convert(ready_harness.ok("viewer", "GET", "/v1/nodes"), NodeList)
        runs = msgspec.convert(ready_harness.ok("viewer", "GET", "/v1/runs"), RunPage)
        return Health(is_ready=True, nodes=nodes.items, runs=runs.items)

    health = FarmHealth()
    assert value(health, "ffrtmp_master_ready") == 0
    health.refresh(read_health)
    assert value(health, "ffrtmp_master_ready") == 1
    assert value(health, "ffrtmp_node_up", node="worker1") == 1
    assert value(health, "ffrtmp_node_up", node="worker2") == 0
    assert value(health, "ffrtmp_node_state", node="worker2", state="offline") == 1
    assert value(health, "ffrtmp_node_state", node="worker2", state="active") == 0
    seen = ready_harness.clock().timestamp()
    assert value(health, "ffrtmp_node_last_seen_timestamp_seconds", node="worker1") == seen
    assert value(health, "ffrtmp_run_jobs", state="leased") == 1
    assert value(health, "ffrtmp_run_jobs", state="queued") == 2


def test_an_unreachable_master_is_reported_and_stale_metrics_are_dropped(
    ready_harness: Any,
) -> None:
    nodes = msgspec.convert(ready_harness.ok("viewer", "GET", "/v1/nodes"), NodeList).items
    health = FarmHealth()
    answers: list[Health | None] = [Health(is_ready=True, nodes=nodes), None]

    def read_health() -> Health:
        answer = answers.pop(0)
        if answer is None:
            raise MasterUnreachableError("gone")
        return answer

    refresher = PollingCollector("health", lambda: health.refresh(read_health), 60, LoopRegistry())
    assert value(refresher, "ffrtmp_health_exporter_up") == 0
    refresher.poll_once()
    assert value(refresher, "ffrtmp_health_exporter_up") == 1
    assert value(health, "ffrtmp_node_up", node="worker1") == 1
    with pytest.raises(MasterUnreachableError):
        refresher.poll_once()
    assert value(refresher, "ffrtmp_health_exporter_up") == 0
    assert value(health, "ffrtmp_master_ready") == 0
    assert value(health, "ffrtmp_node_up", node="worker1") is None


def test_promtool_accepts_the_metrics(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    nodes = msgspec.convert(ready_harness.ok("viewer", "GET", "/v1/nodes"), NodeList)
    runs = msgspec.convert(ready_harness.ok("viewer", "GET", "/v1/runs"), RunPage)
    latest, health = LatestResults(), FarmHealth()
    latest.refresh(lambda _: ResultPage(items=(result,), next_cursor=None))
    health.refresh(lambda: Health(is_ready=True, nodes=nodes.items, runs=runs.items))
    registry = CollectorRegistry()
    for collector in (
        latest,
        health,
        PollingCollector("results", lambda: None, 60, LoopRegistry()),
    ):
        registry.register(collector)
    exporter.register_build_info("results", registry)
    page = generate_latest(registry).decode()
    assert "ffrtmp_results_total{" in page
    assert "ffrtmp_run_jobs{" in page
    assert promtool.complaints(page) == ""


def test_the_result_of_a_job_without_a_run_is_shown(ready_harness: Any) -> None:
    ready_harness.submit()
    ready_harness.result(ready_harness.claim("worker1"))
    latest = LatestResults()

    def page_after(cursor: str) -> ResultPage:
        answer = ready_harness.call("viewer", "GET", "/v1/results", params={"cursor": cursor})
        return msgspec.json.decode(answer.content, type=ResultPage)

    latest.refresh(page_after)
    labels = {**LABELS, "scenario": "clip/one"}
    assert value(latest, "ffrtmp_results_total", **labels) == 1


def test_the_refresh_survives_a_stopped_master(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the master does not respond, the alert is raised; the loop recovers by itself."""
    pauses: Any = Pacing.__init__.__kwdefaults__
    monkeypatch.setitem(pauses, "retry_pause_max_s", 0.02)
    loops, is_down = LoopRegistry(), threading.Event()

    def refresh() -> None:
        if is_down.is_set():
            raise MasterUnreachableError("gone")

    refresher = PollingCollector("health", refresh, 0.02, loops)
    status = loops.find("refresh")
    assert status is not None
    status.stale_after_s = 0.3
    metrics = LoopCollector("ffrtmp_exporter", loops.read)

    def wait_until(*, is_alerting: bool) -> None:
        until = time.monotonic() + 20
        name = "ffrtmp_exporter_loop_last_success_timestamp_seconds"
        while (time.time() - (value(metrics, name, loop="refresh") or 0.0) > 0.3) != is_alerting:
            assert time.monotonic() < until
            time.sleep(0.01)

    refresher.start()
    wait_until(is_alerting=False)
    is_down.set()
    wait_until(is_alerting=True)
    assert value(metrics, "ffrtmp_exporter_loop_failures_total", loop="refresh")
    is_down.clear()
    wait_until(is_alerting=False)
    refresher.stop()


def test_a_programming_error_is_logged_and_does_not_end_the_polling(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loops = LoopRegistry()
    calls = 0
    called_twice = threading.Event()

    def broken_once() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("a bug")
        called_twice.set()

    refresher = PollingCollector("results", broken_once, 0.001, loops)
    refresher.start()
    assert called_twice.wait(10)
    refresher.stop()
    assert "a bug" in caplog.text
    assert "KeyError" in caplog.text
