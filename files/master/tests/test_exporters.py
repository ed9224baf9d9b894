"""Tests of what the exporters of the master have in common: pages and the refresh loop."""

import threading
import time
from typing import Any

import promtool
import pytest
from ffrtmp_master.exporters.health import FarmHealth
from ffrtmp_master.exporters.polling import PollingCollector
from ffrtmp_shared.client import MasterUnreachableError
from ffrtmp_shared.exporter import own_collectors
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing
from ffrtmp_shared.metric_page import MetricPage
from polling import TIMEOUT_S, wait_until

from .exporter_api import (
    Api,
    finish_job,
    new_latest,
    value,
)


def test_promtool_accepts_the_metrics(ready_harness: Any) -> None:
    finish_job(ready_harness)
    api = Api(ready_harness)
    latest, health = new_latest(), FarmHealth()
    latest.refresh(api.result_page)
    health.refresh(api)
    refresher = PollingCollector(lambda: None, 60, LoopRegistry())
    collectors = {"results": latest, "health": health, "source": refresher, **own_collectors()}
    page = MetricPage(collectors).render("")[0].decode()
    assert "ffrtmp_results_stored{" in page
    assert "ffrtmp_run_jobs{" in page
    assert promtool.complaints(page) == ""


def test_the_refresh_survives_a_stopped_master(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the master does not respond, the alert is raised; the loop recovers by itself."""
    pauses: Any = Pacing.__init__.__kwdefaults__
    monkeypatch.setitem(pauses, "retry_pause_max_s", 0.02)
    loops, is_down = LoopRegistry(), threading.Event()

    def refresh() -> None:
        if is_down.is_set():
            raise MasterUnreachableError("gone")

    refresher = PollingCollector(refresh, 0.02, loops)
    status = loops.find("refresh")
    assert status is not None
    status.stale_after_s = 0.3
    metrics = LoopCollector("ffrtmp_exporter", loops.read)

    def is_alerting() -> bool:
        name = "ffrtmp_exporter_loop_last_success_timestamp_seconds"
        return time.time() - (value(metrics, name, loop="refresh") or 0.0) > 0.3

    refresher.start()
    wait_until(lambda: not is_alerting(), "the loop runs", interval_s=0.01)
    is_down.set()
    wait_until(is_alerting, "the alert is raised", interval_s=0.01)
    assert value(metrics, "ffrtmp_exporter_loop_failures_total", loop="refresh")
    is_down.clear()
    wait_until(lambda: not is_alerting(), "the loop recovers", interval_s=0.01)
    refresher.stop()


@pytest.mark.parametrize("defect", [KeyError("a bug"), OverflowError(), RecursionError()])
def test_a_defect_does_not_end_the_refresh(
    defect: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0
    called_twice = threading.Event()

    def fail_once() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise defect
        called_twice.set()

    loops = LoopRegistry()
    refresher = PollingCollector(fail_once, 0.001, loops)
    refresher.start()
    assert called_twice.wait(TIMEOUT_S)
    refresher.stop()
    assert type(defect).__name__ in caplog.text
    wait_until(lambda: value(refresher, "ffrtmp_exporter_source_up") == 1, "the source is up")
