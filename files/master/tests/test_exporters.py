"""Tests of the results and health exporters, whose metrics come from answers of the API."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import promtool
import pytest
from ffrtmp_master.exporters import results
from ffrtmp_master.exporters.health import FarmHealth
from ffrtmp_master.exporters.polling import PollingCollector
from ffrtmp_master.exporters.qoe import QualityOfExperience
from ffrtmp_master.exporters.results import LatestResults
from ffrtmp_shared.client import MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.exporter import own_collectors
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing
from ffrtmp_shared.measurement import Unavailable, VerdictState
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.models import Node, NodeList, Problem, Result, Run, RunPage
from ffrtmp_shared.precision import RunPrecision
from ffrtmp_shared.prices import PriceBook
from ffrtmp_shared.result_pages import (
    RawResultPage,
    ReadablePage,
    UnreadableResult,
    readable_page,
)
from polling import TIMEOUT_S, wait_until
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from result_collectors import experience, guard, latest_results, page_of

T = TypeVar("T")

LABELS = {
    "node": "worker1",
    "encoder": "libx264",
    "preset": "medium",
    "rate_point": "1000k",
    "scenario": "clip/libx264/1000k",
}
DAY_S = 86_400.0


class Api:
    """The calls of the exporters, answered by a master in this process."""

    def __init__(self, harness: Any) -> None:
        self._harness = harness
        self.page_size = 200
        self.is_reachable = True
        self.serves = True

    def is_ready(self) -> bool:
        if not self.is_reachable:
            raise MasterUnreachableError("gone")
        return self.serves

    def nodes(self) -> tuple[Node, ...]:
        return self._call("/v1/nodes", NodeList).items

    def run(self, run_id: UUID) -> Run:
        return self._call(f"/v1/runs/{run_id}", Run)

    def run_page(self, cursor: str = "", *, only_unfinished: bool = False) -> RunPage:
        return self._call(
            "/v1/runs", RunPage, cursor=cursor, unfinished=str(only_unfinished).lower()
        )

    def result_page(self, cursor: str = "") -> ReadablePage:
        return self._call("/v1/results", ReadablePage, cursor=cursor)

    def _call(self, path: str, answer_type: type[T], **params: str) -> T:
        if params:
            params["limit"] = str(self.page_size)
        answer = self._harness.call("viewer", "GET", path, params=params)
        if answer.is_error:
            raise MasterRefusedError(msgspec.json.decode(answer.content, type=Problem))
        return msgspec.json.decode(answer.content, type=answer_type)


def value(collector: Collector, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry.get_sample_value(name, labels)


def finish_job(harness: Any) -> Result:
    harness.run()
    harness.result(harness.claim("worker1"))
    items = harness.ok("viewer", "GET", "/v1/results")["items"]
    return msgspec.convert(items[-1], Result)


def day_2() -> float:
    return datetime(2026, 1, 2, tzinfo=UTC).timestamp()


def changed(result: Result, **more: Any) -> Result:
    """Return another result, with some differences."""
    return msgspec.structs.replace(result, id=new_id(), **more)


def measured_at(result: Result, moment: datetime) -> Result:
    environment = msgspec.structs.replace(result.measurement.environment, measured_at=moment)
    measurement = msgspec.structs.replace(result.measurement, environment=environment)
    return changed(result, measurement=measurement)


def with_verdict(result: Result, state: VerdictState) -> Result:
    verdict = result.measurement.verdict
    assert verdict is not None
    measurement = msgspec.structs.replace(
        result.measurement, verdict=msgspec.structs.replace(verdict, state=state)
    )
    return changed(result, measurement=measurement)


def refresh(latest: LatestResults, page_after: Callable[[str], ReadablePage]) -> None:
    """Refresh the collector with pages, for runs without intervals."""
    nothing = RunPrecision(interval=0.01, medians=(), drifts=())
    latest.refresh(page_after, lambda _: nothing)


# --- results -------------------------------------------------------------------------------------


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


# --- health --------------------------------------------------------------------------------------


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


# --- both ----------------------------------------------------------------------------------------


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
