"""Tests of the exporter of results."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from ffrtmp_master.exporters import latest_results
from ffrtmp_shared.client import MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.measurement import Unavailable, VerdictState
from ffrtmp_shared.models import Problem, ResultPage
from prometheus_client.registry import Collector

from .exporter_api import (
    DAY_S,
    LABELS,
    Api,
    changed,
    finish_job,
    measured_at,
    new_latest,
    page_of,
    value,
    with_verdict,
)


def test_the_last_result_of_every_scenario_is_shown(ready_harness: Any) -> None:
    latest = new_latest()
    api = Api(ready_harness)
    result = finish_job(ready_harness)
    latest.refresh(api.result_page)
    latest.refresh(api.result_page)
    verdict = result.measurement.verdict
    assert verdict is not None
    stored = {"node": "worker1", "verdict": verdict.state.value}
    assert value(latest, "ffrtmp_results_stored", **stored) == 1
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) == 2.0
    assert value(latest, "ffrtmp_result_frames_per_second", **LABELS) == 50.0
    assert value(latest, "ffrtmp_result_vmaf_mean", **LABELS) == 91.5
    assert value(latest, "ffrtmp_result_video_rate_bytes_per_second", **LABELS) == 125_000
    assert value(latest, "ffrtmp_result_cpu_seconds", **LABELS) == 3.5
    ready_harness.clock.advance(30)
    finish_job(ready_harness)
    latest.refresh(api.result_page)
    assert value(latest, "ffrtmp_results_stored", **stored) == 2


def test_the_time_of_a_result_is_that_of_its_measurement(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    moment = result.stored_at - timedelta(hours=2)
    latest = new_latest()
    latest.refresh(page_of(measured_at(result, moment)))
    assert value(latest, "ffrtmp_result_timestamp_seconds", **LABELS) == moment.timestamp()
    # Earlier agents do not report the time.
    unknown = msgspec.structs.replace(
        result.measurement.environment, measured_at=Unavailable(reason="an earlier agent")
    )
    measurement = msgspec.structs.replace(result.measurement, environment=unknown)
    latest = new_latest()
    latest.refresh(page_of(changed(result, measurement=measurement)))
    stored_at = result.stored_at.timestamp()
    assert value(latest, "ffrtmp_result_timestamp_seconds", **LABELS) == stored_at


def test_a_result_that_arrives_late_does_not_replace_a_newer_one(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    moment = result.stored_at - timedelta(hours=1)
    newer, late = measured_at(result, moment), measured_at(result, moment - timedelta(hours=5))
    latest = new_latest()
    latest.refresh(page_of(newer, late))
    assert value(latest, "ffrtmp_result_timestamp_seconds", **LABELS) == moment.timestamp()


def total(collector: Collector, name: str) -> float:
    samples = [s for family in collector.collect() for s in family.samples if s.name == name]
    return sum(sample.value for sample in samples)


def test_pages_are_followed_and_nothing_counts_twice(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    second, third = changed(first), changed(first)
    pages = {
        "": ResultPage(items=(first, second), next_cursor="2"),
        "2": ResultPage(items=(), next_cursor=None),
    }
    latest = new_latest()
    latest.refresh(pages.__getitem__)
    assert total(latest, "ffrtmp_results_stored") == 2
    pages["2"] = ResultPage(items=(third,), next_cursor=None)
    for _ in range(2):
        latest.refresh(pages.__getitem__)
        assert total(latest, "ffrtmp_results_stored") == 3


def test_results_are_complete_after_the_first_pass(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    answers: list[ResultPage | None] = [
        ResultPage(items=(first,), next_cursor="2"),
        None,
        ResultPage(items=(changed(first),), next_cursor=None),
    ]

    def page_after(_: str) -> ResultPage:
        answer = answers.pop(0)
        if answer is None:
            raise MasterUnreachableError("gone")
        return answer

    latest = new_latest()
    with pytest.raises(MasterUnreachableError):
        latest.refresh(page_after)
    assert not latest.is_complete()
    latest.refresh(page_after)
    assert latest.is_complete()
    assert total(latest, "ffrtmp_results_stored") == 2


def test_results_that_retention_removed_are_not_counted_after_a_day(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    now_s = [datetime(2026, 1, 2, tzinfo=UTC).timestamp()]
    latest = new_latest(clock=lambda: now_s[0])
    latest.refresh(page_of(first, changed(first), changed(first)))
    now_s[0] += DAY_S - 1
    latest.refresh(page_of(first))
    assert total(latest, "ffrtmp_results_stored") == 3
    now_s[0] += 1
    latest.refresh(page_of(first))
    assert total(latest, "ffrtmp_results_stored") == 1


def test_a_failed_recount_keeps_the_earlier_results(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    now_s = [datetime(2026, 1, 2, tzinfo=UTC).timestamp()]
    latest = new_latest(clock=lambda: now_s[0])
    latest.refresh(page_of(first, changed(first)))
    now_s[0] += DAY_S

    def page_after(cursor: str) -> ResultPage:
        if cursor:
            raise MasterUnreachableError("gone")
        return ResultPage(items=(first,), next_cursor="2")

    with pytest.raises(MasterUnreachableError):
        latest.refresh(page_after)
    assert total(latest, "ffrtmp_results_stored") == 2
    latest.refresh(page_of(first))
    assert total(latest, "ffrtmp_results_stored") == 1


@pytest.mark.parametrize("status", [409, 410, 422])
def test_a_cursor_that_the_master_does_not_know_begins_a_recount(
    ready_harness: Any, status: int
) -> None:
    first = finish_job(ready_harness)
    latest = new_latest()
    latest.refresh(page_of(first, changed(first)))

    def refuse(_: str) -> ResultPage:
        problem = Problem(type="about:blank", title="unknown", status=status, detail="")
        raise MasterRefusedError(problem)

    with pytest.raises(MasterRefusedError):
        latest.refresh(refuse)
    latest.refresh(page_of(first))
    assert total(latest, "ffrtmp_results_stored") == 1


def test_a_restored_database_begins_a_recount(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    pages = {
        ("a", ""): ResultPage(items=(first, changed(first)), next_cursor="2", epoch="a"),
        ("a", "2"): ResultPage(items=(changed(first),), next_cursor=None, epoch="a"),
        ("b", ""): ResultPage(items=(first,), next_cursor=None, epoch="b"),
        ("b", "2"): ResultPage(items=(), next_cursor=None, epoch="b"),
        ("c", ""): ResultPage(items=(first, changed(first)), next_cursor="2", epoch="c"),
        ("c", "2"): ResultPage(items=(), next_cursor=None, epoch="d"),
        ("d", ""): ResultPage(items=(first,) * 1, next_cursor=None, epoch="d"),
        ("d", "2"): ResultPage(items=(), next_cursor=None, epoch="d"),
    }
    latest = new_latest()
    for epoch, count in (("a", 3), ("b", 1), ("c", 1), ("d", 1)):
        latest.refresh(lambda cursor, now=epoch: pages[now, cursor])
        assert total(latest, "ffrtmp_results_stored") == count, epoch


def test_old_results_are_not_exported(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    now_s = [moment.timestamp() + 89 * DAY_S]
    latest = new_latest(clock=lambda: now_s[0], recount_s=1000 * DAY_S)
    latest.refresh(page_of(measured_at(result, moment)))
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) == 2.0
    now_s[0] += 2 * DAY_S
    latest.refresh(page_of())
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) is None
    assert total(latest, "ffrtmp_results_stored") == 1


def test_the_number_of_series_is_bounded(
    ready_harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest_results, "_COUNTED_NODES_MAX", 3)
    result = finish_job(ready_harness)
    many = tuple(changed(result, node=f"node{number}") for number in range(50))
    latest = new_latest(series_max=10)
    latest.refresh(page_of(*many))
    speeds = [s for f in latest.collect() for s in f.samples if s.name.endswith("speed_ratio")]
    assert {sample.labels["node"] for sample in speeds} == {f"node{n}" for n in range(40, 50)}
    assert value(latest, "ffrtmp_results_omitted") == 40
    counted = [s for f in latest.collect() for s in f.samples if s.name == "ffrtmp_results_stored"]
    assert {sample.labels["node"] for sample in counted} == {"node0", "node1", "node2", "other"}
    assert total(latest, "ffrtmp_results_stored") == 50


def test_invalid_results_are_counted_but_not_shown(ready_harness: Any) -> None:
    invalid = with_verdict(finish_job(ready_harness), VerdictState.INVALID)
    latest = new_latest()
    latest.refresh(page_of(invalid))
    assert value(latest, "ffrtmp_results_stored", node="worker1", verdict="invalid") == 1
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) is None


def test_unavailable_values_have_no_sample(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    measured = msgspec.structs.replace(result.measurement, quality=Unavailable(reason="no libvmaf"))
    latest = new_latest()
    latest.refresh(page_of(changed(result, measurement=measured)))
    assert value(latest, "ffrtmp_result_vmaf_mean", **LABELS) is None
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) == 2.0


def test_the_result_of_a_job_without_a_run_is_shown(ready_harness: Any) -> None:
    ready_harness.submit()
    ready_harness.result(ready_harness.claim("worker1"))
    latest = new_latest()
    latest.refresh(Api(ready_harness).result_page)
    labels = {**LABELS, "scenario": "clip/one"}
    assert value(latest, "ffrtmp_result_speed_ratio", **labels) == 2.0
