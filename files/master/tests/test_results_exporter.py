"""Tests of the exporter of results."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from ffrtmp_master.exporters import results
from ffrtmp_shared.client import MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.models import Problem
from ffrtmp_shared.result_pages import RawResultPage, ReadablePage, UnreadableResult, readable_page
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_shared.verdict import VerdictState
from prometheus_client.registry import Collector
from result_collectors import guard, latest_results, page_of

from .exporter_api import (
    DAY_S,
    LABELS,
    Api,
    changed,
    day_2,
    finish_job,
    measured_at,
    refresh,
    value,
    with_verdict,
)


def test_the_last_result_of_every_scenario_is_shown(ready_harness: Any) -> None:
    latest = latest_results(day_2)
    api = Api(ready_harness)
    result = finish_job(ready_harness)
    refresh(latest, api.result_page)
    refresh(latest, api.result_page)
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
    refresh(latest, api.result_page)
    assert value(latest, "ffrtmp_results_stored", **stored) == 2


def test_the_time_of_a_result_is_that_of_its_measurement(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    moment = result.stored_at - timedelta(hours=2)
    latest = latest_results(day_2)
    refresh(latest, page_of(measured_at(result, moment)))
    assert value(latest, "ffrtmp_result_timestamp_seconds", **LABELS) == moment.timestamp()
    # Earlier agents do not report the time.
    unknown = msgspec.structs.replace(
        result.measurement.environment, measured_at=Unavailable(reason="an earlier agent")
    )
    measurement = msgspec.structs.replace(result.measurement, environment=unknown)
    latest = latest_results(day_2)
    refresh(latest, page_of(changed(result, measurement=measurement)))
    stored_at = result.stored_at.timestamp()
    assert value(latest, "ffrtmp_result_timestamp_seconds", **LABELS) == stored_at


def test_a_result_that_arrives_late_does_not_replace_a_newer_one(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    moment = result.stored_at - timedelta(hours=1)
    newer, late = measured_at(result, moment), measured_at(result, moment - timedelta(hours=5))
    latest = latest_results(day_2)
    refresh(latest, page_of(newer, late))
    assert value(latest, "ffrtmp_result_timestamp_seconds", **LABELS) == moment.timestamp()


def total(collector: Collector, name: str) -> float:
    samples = [s for family in collector.collect() for s in family.samples if s.name == name]
    return sum(sample.value for sample in samples)


def test_pages_are_followed_and_nothing_counts_twice(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    second, third = changed(first), changed(first)
    pages = {
        "": ReadablePage(items=(first, second), next_cursor="2"),
        "2": ReadablePage(items=(), next_cursor=None),
    }
    latest = latest_results(day_2)
    refresh(latest, pages.__getitem__)
    assert total(latest, "ffrtmp_results_stored") == 2
    pages["2"] = ReadablePage(items=(third,), next_cursor=None)
    for _ in range(2):
        refresh(latest, pages.__getitem__)
        assert total(latest, "ffrtmp_results_stored") == 3


def test_results_are_complete_after_the_first_pass(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    answers: list[ReadablePage | None] = [
        ReadablePage(items=(first,), next_cursor="2"),
        None,
        ReadablePage(items=(changed(first),), next_cursor=None),
    ]

    def page_after(_: str) -> ReadablePage:
        answer = answers.pop(0)
        if answer is None:
            raise MasterUnreachableError("gone")
        return answer

    latest = latest_results(day_2)
    with pytest.raises(MasterUnreachableError):
        refresh(latest, page_after)
    assert not latest.is_complete()
    refresh(latest, page_after)
    assert latest.is_complete()
    assert total(latest, "ffrtmp_results_stored") == 2


def test_results_that_retention_removed_are_not_counted_after_a_day(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    now_s = [datetime(2026, 1, 2, tzinfo=UTC).timestamp()]
    latest = latest_results(lambda: now_s[0])
    refresh(latest, page_of(first, changed(first), changed(first)))
    now_s[0] += DAY_S - 1
    refresh(latest, page_of(first))
    assert total(latest, "ffrtmp_results_stored") == 3
    now_s[0] += 1
    refresh(latest, page_of(first))
    assert total(latest, "ffrtmp_results_stored") == 1


def test_a_failed_recount_keeps_the_earlier_results(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    now_s = [datetime(2026, 1, 2, tzinfo=UTC).timestamp()]
    latest = latest_results(lambda: now_s[0])
    refresh(latest, page_of(first, changed(first)))
    now_s[0] += DAY_S

    def page_after(cursor: str) -> ReadablePage:
        if cursor:
            raise MasterUnreachableError("gone")
        return ReadablePage(items=(first,), next_cursor="2")

    with pytest.raises(MasterUnreachableError):
        refresh(latest, page_after)
    assert total(latest, "ffrtmp_results_stored") == 2
    refresh(latest, page_of(first))
    assert total(latest, "ffrtmp_results_stored") == 1


@pytest.mark.parametrize("status", [409, 410, 422])
def test_a_cursor_that_the_master_does_not_know_begins_a_recount(
    ready_harness: Any, status: int
) -> None:
    first = finish_job(ready_harness)
    latest = latest_results(day_2)
    refresh(latest, page_of(first, changed(first)))

    def refuse(_: str) -> ReadablePage:
        problem = Problem(type="about:blank", title="unknown", status=status, detail="")
        raise MasterRefusedError(problem)

    with pytest.raises(MasterRefusedError):
        refresh(latest, refuse)
    refresh(latest, page_of(first))
    assert total(latest, "ffrtmp_results_stored") == 1


def test_a_restored_database_begins_a_recount(ready_harness: Any) -> None:
    first = finish_job(ready_harness)
    pages = {
        ("a", ""): ReadablePage(items=(first, changed(first)), next_cursor="2", epoch="a"),
        ("a", "2"): ReadablePage(items=(changed(first),), next_cursor=None, epoch="a"),
        ("b", ""): ReadablePage(items=(first,), next_cursor=None, epoch="b"),
        ("b", "2"): ReadablePage(items=(), next_cursor=None, epoch="b"),
        ("c", ""): ReadablePage(items=(first, changed(first)), next_cursor="2", epoch="c"),
        ("c", "2"): ReadablePage(items=(), next_cursor=None, epoch="d"),
        ("d", ""): ReadablePage(items=(first,) * 1, next_cursor=None, epoch="d"),
        ("d", "2"): ReadablePage(items=(), next_cursor=None, epoch="d"),
    }
    latest = latest_results(day_2)
    for epoch, count in (("a", 3), ("b", 1), ("c", 1), ("d", 1)):
        refresh(latest, lambda cursor, now=epoch: pages[now, cursor])
        assert total(latest, "ffrtmp_results_stored") == count, epoch


def test_old_results_are_not_exported(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    now_s = [moment.timestamp() + 89 * DAY_S]
    latest = latest_results(lambda: now_s[0], recount_s=1000 * DAY_S)
    refresh(latest, page_of(measured_at(result, moment)))
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) == 2.0
    now_s[0] += 2 * DAY_S
    refresh(latest, page_of())
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) is None
    assert total(latest, "ffrtmp_results_stored") == 1


def test_the_number_of_series_is_bounded(
    ready_harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_COUNTED_NODES_MAX", 3)
    result = finish_job(ready_harness)
    many = tuple(changed(result, node=f"node{number}") for number in range(50))
    latest = latest_results(day_2, series_max=10)
    refresh(latest, page_of(*many))
    speeds = [s for f in latest.collect() for s in f.samples if s.name.endswith("speed_ratio")]
    assert {sample.labels["node"] for sample in speeds} == {f"node{n}" for n in range(40, 50)}
    assert value(latest, "ffrtmp_results_omitted") == 40
    counted = [s for f in latest.collect() for s in f.samples if s.name == "ffrtmp_results_stored"]
    assert {sample.labels["node"] for sample in counted} == {"node0", "node1", "node2", "other"}
    assert total(latest, "ffrtmp_results_stored") == 50


def test_invalid_results_are_counted_but_not_shown(ready_harness: Any) -> None:
    invalid = with_verdict(finish_job(ready_harness), VerdictState.INVALID)
    latest = latest_results(day_2)
    refresh(latest, page_of(invalid))
    assert value(latest, "ffrtmp_results_stored", node="worker1", verdict="invalid") == 1
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) is None


def test_results_that_cannot_be_decoded_are_counted_once(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    verdict = result.measurement.verdict
    assert verdict is not None
    newer = UnreadableResult(key="1", node="worker1")
    pages = {
        "": ReadablePage(
            items=(result,),
            next_cursor="2",
            unreadable=(newer, UnreadableResult(key="2", node="worker2")),
        ),
        "2": ReadablePage(
            items=(), next_cursor=None, unreadable=(UnreadableResult(key="3", node=""),)
        ),
    }
    now_s = [day_2()]
    latest = latest_results(lambda: now_s[0])
    for _ in range(2):
        refresh(latest, pages.__getitem__)
        assert total(latest, "ffrtmp_results_stored") == 4
        assert value(latest, "ffrtmp_results_undecodable") == 3
        for node, text in (
            ("worker1", verdict.state.value),
            ("worker1", "undecodable"),
            ("worker2", "undecodable"),
            ("other", "undecodable"),
        ):
            assert value(latest, "ffrtmp_results_stored", node=node, verdict=text) == 1
    # Retention has removed all but one of them.
    now_s[0] += DAY_S
    pages = {
        "": ReadablePage(items=(), next_cursor=None, unreadable=(newer,)),
        "2": ReadablePage(items=(), next_cursor=None),
    }
    refresh(latest, pages.__getitem__)
    assert total(latest, "ffrtmp_results_stored") == 1
    assert value(latest, "ffrtmp_results_undecodable") == 1


def test_the_results_of_a_page_of_the_master_are_all_counted(ready_harness: Any) -> None:
    """A result of a newer release is on the page that the exporter gets."""
    finish_job(ready_harness)
    ready_harness.clock.advance(30)
    finish_job(ready_harness)
    document = ready_harness.ok("viewer", "GET", "/v1/results")
    document["items"][1]["measurement"]["encode"]["speed"] = "fast"
    raw = msgspec.json.decode(msgspec.json.encode(document), type=RawResultPage)
    shared = guard()
    latest = latest_results(day_2)
    for _ in range(5):
        refresh(latest, lambda _: readable_page(raw, shared))
    assert total(latest, "ffrtmp_results_stored") == 2
    undecodable = {"node": "worker1", "verdict": "undecodable"}
    assert value(latest, "ffrtmp_results_stored", **undecodable) == 1
    assert value(latest, "ffrtmp_results_undecodable") == 1


def test_the_energy_of_a_job_that_is_not_exclusive_is_an_estimate(ready_harness: Any) -> None:
    alone = finish_job(ready_harness)
    environment = msgspec.structs.replace(alone.measurement.environment, node_use="shared")
    measured = msgspec.structs.replace(alone.measurement, environment=environment)
    for result, expected in ((alone, None), (changed(alone, measurement=measured), 1)):
        latest = latest_results(day_2)
        refresh(latest, page_of(result))
        assert value(latest, "ffrtmp_result_energy_joules", **LABELS) is not None
        assert value(latest, "ffrtmp_result_energy_estimated", **LABELS) == expected


def test_unavailable_values_have_no_sample(ready_harness: Any) -> None:
    result = finish_job(ready_harness)
    measured = msgspec.structs.replace(result.measurement, quality=Unavailable(reason="no libvmaf"))
    latest = latest_results(day_2)
    refresh(latest, page_of(changed(result, measurement=measured)))
    assert value(latest, "ffrtmp_result_vmaf_mean", **LABELS) is None
    assert value(latest, "ffrtmp_result_speed_ratio", **LABELS) == 2.0


def test_the_result_of_a_job_without_a_run_is_shown(ready_harness: Any) -> None:
    ready_harness.submit()
    ready_harness.result(ready_harness.claim("worker1"))
    latest = latest_results(day_2)
    refresh(latest, Api(ready_harness).result_page)
    labels = {**LABELS, "scenario": "clip/one"}
    assert value(latest, "ffrtmp_result_speed_ratio", **labels) == 2.0
