"""Tests of the half-widths of intervals, which come from the precision of runs in the API."""

from typing import Any
from uuid import UUID

import factories
import msgspec
import pytest
import result_collectors
from ffrtmp_master.exporters.speed_intervals import SpeedIntervals
from ffrtmp_shared.client import MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Problem
from ffrtmp_shared.precision import MedianSpeed, MedianState, RunPrecision
from ffrtmp_shared.result_pages import ReadablePage
from prometheus_client import CollectorRegistry


def precision(low: float | None, high: float | None, speed: float | None = 2.0) -> RunPrecision:
    median = MedianSpeed(
        node="w1",
        scenario="clip",
        n=6,
        n_invalid=0,
        speed=speed,
        low=low,
        high=high,
        state=MedianState.OPEN,
    )
    return RunPrecision(interval=0.01, medians=(median,), drifts=())


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def new_intervals(clock: Clock | None = None) -> SpeedIntervals:
    return SpeedIntervals(result_collectors.guard(), clock or Clock())


def test_the_half_width_is_divided_by_the_median() -> None:
    run, found = new_id(), new_intervals()
    found.refresh({run: 6}, lambda _: precision(1.9, 2.1))
    assert found.half_width_ratio(run, "w1", "clip") == pytest.approx(0.05)
    assert found.half_width_ratio(run, "w2", "clip") is None
    assert found.half_width_ratio(None, "w1", "clip") is None


@pytest.mark.parametrize("bounds", [(None, None, 2.0), (None, None, None), (0.0, 1.0, 0.0)])
def test_a_median_without_an_interval_has_no_half_width(bounds: Any) -> None:
    run, found = new_id(), new_intervals()
    found.refresh({run: 6}, lambda _: precision(*bounds))
    assert found.half_width_ratio(run, "w1", "clip") is None


def test_a_run_is_read_again_when_it_has_new_results_but_not_at_each_refresh() -> None:
    run, clock, reads = new_id(), Clock(), []
    found = new_intervals(clock)

    def read(run_id: UUID) -> RunPrecision:
        reads.append(run_id)
        return precision(1.9, 2.1)

    for results in (6, 6, 7, 8):
        found.refresh({run: results}, read)
    assert reads == [run]
    clock.now_s = 60.0
    found.refresh({run: 8}, read)
    assert reads == [run, run]
    clock.now_s = 3600.0
    found.refresh({run: 8}, read)
    assert reads == [run, run]


def test_runs_that_are_not_recent_are_forgotten() -> None:
    run, found = new_id(), new_intervals()
    found.refresh({run: 6}, lambda _: precision(1.9, 2.1))
    found.refresh({}, lambda _: pytest.fail("no run is recent"))
    assert found.half_width_ratio(run, "w1", "clip") is None


@pytest.mark.parametrize("status", [404, 500])
def test_a_run_that_cannot_be_read_does_not_affect_the_others(status: int) -> None:
    lost, run, found = new_id(), new_id(), new_intervals()

    def read(run_id: UUID) -> RunPrecision:
        if run_id == lost:
            raise MasterRefusedError(Problem(type="", title="", status=status, detail=""))
        return precision(1.9, 2.1)

    assert found.refresh({lost: 1, run: 6}, read)
    assert found.half_width_ratio(run, "w1", "clip") == pytest.approx(0.05)
    assert found.half_width_ratio(lost, "w1", "clip") is None


def test_a_busy_master_is_asked_again_at_the_next_refresh(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs, found = [new_id() for _ in range(3)], new_intervals()
    answers = iter([True, False, True, True])
    requested = []

    def read(run_id: UUID) -> RunPrecision:
        requested.append(run_id)
        if not next(answers):
            raise MasterRefusedError(Problem(type="", title="", status=429, detail=""))
        return precision(1.9, 2.1)

    assert not found.refresh(dict.fromkeys(runs, 6), read)
    assert requested == runs[:2]
    assert found.refresh(dict.fromkeys(runs, 6), read)
    assert requested == [runs[0], runs[1], runs[1], runs[2]]
    assert all(found.half_width_ratio(run, "w1", "clip") for run in runs)
    assert caplog.text == ""


def test_an_unreachable_master_keeps_the_intervals() -> None:
    run, found = new_id(), new_intervals()
    found.refresh({run: 6}, lambda _: precision(1.9, 2.1))

    def read(_: UUID) -> RunPrecision:
        raise MasterUnreachableError("gone")

    with pytest.raises(MasterUnreachableError):
        found.refresh({run: 6, new_id(): 1}, read)
    assert found.half_width_ratio(run, "w1", "clip") == pytest.approx(0.05)


def test_the_exporter_reads_the_precision_of_the_master(ready_harness: Any) -> None:
    """Six repeats with different speeds: their 95 % interval extends from the first to the last."""
    run = ready_harness.run(factories.suite(repeats=6))["id"]
    speeds = (2.0, 2.1, 2.2, 2.4, 2.5, 2.6)
    for speed in speeds:
        measured = factories.measurement()
        encode = msgspec.structs.replace(measured.encode, speed=speed)
        measured = msgspec.structs.replace(measured, encode=encode)
        ready_harness.result(ready_harness.claim("worker1"), measurement=measured)

    def pages(cursor: str) -> ReadablePage:
        answer = ready_harness.ok("viewer", "GET", "/v1/results", params={"cursor": cursor})
        return msgspec.convert(answer, ReadablePage)

    def precision_of(run_id: UUID) -> RunPrecision:
        answer = ready_harness.ok("viewer", "GET", f"/v1/runs/{run_id}/precision")
        return msgspec.convert(answer, RunPrecision)

    latest = result_collectors.latest_results(lambda: ready_harness.clock().timestamp())
    latest.refresh(pages, precision_of)
    registry = CollectorRegistry()
    registry.register(latest)
    labels = {
        "node": "worker1",
        "encoder": "libx264",
        "preset": "medium",
        "rate_point": "1000k",
        "scenario": "clip/libx264/1000k",
    }
    name = "ffrtmp_result_speed_interval_halfwidth_ratio"
    # (2.6 - 2.0) / 2 / 2.3
    assert registry.get_sample_value(name, labels) == pytest.approx(0.3 / 2.3)
    assert ready_harness.run_now(run)["counts"]["succeeded"] == len(speeds)
