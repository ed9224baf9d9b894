"""Collectors of results with limits that tests choose, and results for them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import factories
from ffrtmp_master.exporters.cost import FarmCosts
from ffrtmp_master.exporters.qoe import QualityOfExperience
from ffrtmp_master.exporters.recent_results import RecentLimits
from ffrtmp_master.exporters.results import LatestResults
from ffrtmp_shared.client import MasterUnreachableError
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.live_measurement import LiveMeasurement
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.models import Result
from ffrtmp_shared.result_pages import ReadablePage

LIVE = LiveMeasurement(
    duration_s=60.0,
    lag_p50_s=0.1,
    lag_p95_s=0.2,
    lag_p99_s=0.3,
    lag_max_s=0.4,
    below_real_time_s=6.0,
    stalls=2,
    reconnects=1,
    frames_lost=5,
    end_to_end_p50_s=1.1,
    end_to_end_p95_s=1.2,
    end_to_end_p99_s=1.3,
    end_to_end_max_s=1.4,
    bitrate_mean_kbps=1000.0,
    bitrate_max_kbps=1500.0,
    bitrate_cv=0.1,
    helpers_cpu_s=1.0,
    startup_s=0.8,
)
"""The measurement of a live stream."""

_LIMITS = RecentLimits(series_max=1000, runs_max=100, keep_days=90, recount_s=86_400)


def guard() -> ItemGuard:
    """Return the guard of a loop, which passes on the errors of an unreachable master."""
    status = LoopRegistry().add("refresh", stale_after_s=60)
    return ItemGuard(status, passed_on=(MasterUnreachableError,))


def latest_results(clock: Callable[[], float] = time.time, **limits: Any) -> LatestResults:
    """Return the collector of the exporter results; some limits can be changed."""
    return LatestResults(_LIMITS._replace(**limits), guard(), clock)


def experience(clock: Callable[[], float] = time.time, **limits: Any) -> QualityOfExperience:
    """Return the collector of the exporter qoe; some limits can be changed."""
    return QualityOfExperience(_LIMITS._replace(**limits), guard(), clock)


def farm_costs(clock: Callable[[], float] = time.time, **limits: Any) -> FarmCosts:
    """Return the collector of the exporter cost; some limits can be changed."""
    return FarmCosts(_LIMITS._replace(**limits), guard(), clock)


def result(**more: Any) -> Result:
    """Return a result of a job without a run, with some differences."""
    found: dict[str, Any] = {
        "id": new_id(),
        "run_id": None,
        "job_id": new_id(),
        "attempt": 1,
        "node": "worker1",
        "repeat": 1,
        "scenario": factories.scenario(),
        "measurement": factories.measurement(),
        "artifacts": (),
        "stored_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Result(**found | more)


def page_of(*results: Result) -> Callable[[str], ReadablePage]:
    """Return a function that returns a page with all results, whatever the cursor is."""
    return lambda _: ReadablePage(items=results, next_cursor=None)
