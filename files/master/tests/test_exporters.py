"""Tests of what the exporters of the master have in common: pages and the refresh loop."""

import threading
import time
from datetime import timedelta
from typing import Any

import msgspec
import promtool
import pytest
from ffrtmp_master.exporters.health import FarmHealth
from ffrtmp_master.exporters.polling import PollingCollector
from ffrtmp_master.exporters.qoe import QualityOfExperience
from ffrtmp_master.exporters.results import LatestResults
from ffrtmp_shared.client import MasterUnreachableError
from ffrtmp_shared.exporter import own_collectors
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.prices import PriceBook
from ffrtmp_shared.result_pages import (
    ReadablePage,
)
from polling import TIMEOUT_S, wait_until
from prometheus_client.registry import Collector
from result_collectors import experience, latest_results

from .exporter_api import (
    LABELS,
    Api,
    day_2,
    finish_job,
    measured_at,
    refresh,
    value,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["results", "qoe"])
def test_results_stay_available_during_an_hour_without_a_master(
    ready_harness: Any, kind: str
) -> None:
    """The master is unreachable for 240 refreshes; then a later result is read."""
    first = finish_job(ready_harness)
    now_s = [day_2()]
    stored, is_down = [first], False

    def page_after(_: str) -> ReadablePage:
        if is_down:
            raise MasterUnreachableError("gone")
        return ReadablePage(items=tuple(stored), next_cursor=None)

    latest, quality = latest_results(lambda: now_s[0]), experience(lambda: now_s[0])
    exporter: LatestResults | QualityOfExperience
    if kind == "results":
        exporter = latest
        poll = PollingCollector(
            lambda: refresh(latest, page_after), 15, LoopRegistry(), lambda: now_s[0]
        )
        name = "ffrtmp_result_timestamp_seconds"
    else:
        exporter = quality
        poll = PollingCollector(
            lambda: quality.refresh(page_after, PriceBook), 15, LoopRegistry(), lambda: now_s[0]
        )
        name = "ffrtmp_qoe_measured_timestamp_seconds"
    poll.poll_once()
    shown = page_text(exporter)
    is_down = True
    for _ in range(240):
        now_s[0] += 15
        with pytest.raises(MasterUnreachableError):
            poll.poll_once()
    assert page_text(exporter) == shown
    assert exporter.is_complete()
    assert value(poll, "ffrtmp_exporter_source_up") == 0
    last = "ffrtmp_exporter_source_last_success_timestamp_seconds"
    assert value(poll, last) == day_2()
    is_down = False
    moment = first.stored_at + timedelta(minutes=30)
    stored.append(
        msgspec.structs.replace(measured_at(first, moment), stored_at=moment, job_id=new_id())
    )
    poll.poll_once()
    assert value(poll, "ffrtmp_exporter_source_up") == 1
    assert value(exporter, name, **LABELS) == moment.timestamp()


def page_text(collector: Collector) -> list[str]:
    """Return the samples of a collector as text."""
    page = MetricPage({"exporter": collector}).render("")[0].decode()
    return [line for line in page.splitlines() if not line.startswith("ffrtmp_scrape_")]


def test_promtool_accepts_the_metrics(ready_harness: Any) -> None:
    finish_job(ready_harness)
    api = Api(ready_harness)
    latest, quality, health = latest_results(day_2), experience(day_2), FarmHealth()
    refresh(latest, api.result_page)
    quality.refresh(api.result_page, PriceBook)
    health.refresh(api)
    refresher = PollingCollector(lambda: None, 60, LoopRegistry())
    collectors: dict[str, Collector] = {
        "results": latest,
        "qoe": quality,
        "health": health,
        "source": refresher,
        **own_collectors(),
    }
    page = MetricPage(collectors).render("")[0].decode()
    assert "ffrtmp_results_stored{" in page
    assert "ffrtmp_run_jobs{" in page
    assert "ffrtmp_qoe_vmaf_model_info{" in page
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
