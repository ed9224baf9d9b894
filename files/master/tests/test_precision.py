"""Tests of adaptive repeats, which continue until medians are precise."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from databases import only
from ffrtmp_master.runs.confidence_interval import interval_of_median, repeats_needed
from ffrtmp_master.runs.interim_looks import plan_looks
from ffrtmp_master.store.schema import runs
from ffrtmp_shared.control_encode import SCENARIO
from ffrtmp_shared.suite_limits import MAX_REPEATS
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from .adaptive_runs import measured, noisy, rounds, steady, very_noisy, work

_PRECISE = "precision: {interval: 0.05, max_repeats: 12}\n"


def test_a_steady_scenario_is_repeated_until_it_has_an_interval(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))
    assert run["unsettled_nodes"] == ["worker1"]
    assert work(ready_harness, {}) == 3 * ["clip/libx264/1000k"]
    now = ready_harness.run_now(run["id"])
    # All jobs have succeeded, but the run is not finished, because it will get more jobs.
    assert (now["state"], now["counts"]["succeeded"], now["finished_at"]) == ("running", 3, None)
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["counts"]["queued"] == 5
    assert len(work(ready_harness, {})) == 5
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["succeeded"]) == ("succeeded", 8)
    assert now["finished_at"] is not None
    assert now["unsettled_nodes"] == []
    jobs = ready_harness.every("/v1/jobs", run=run["id"])
    assert [job["repeat"] for job in jobs] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [job["position"] for job in jobs] == list(range(8))
    results = ready_harness.every("/v1/results", run=run["id"])
    assert sorted(result["repeat"] for result in results) == [1, 2, 3, 4, 5, 6, 7, 8]
    precision = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    assert precision["looks"] == [{"n": 8, "rank": 1}, {"n": 12, "rank": 3}]


def test_only_noisy_scenarios_are_repeated_up_to_the_maximum(ready_harness: Any) -> None:
    text = ready_harness.suite(rates=3, repeats=8, more=_PRECISE)
    run = ready_harness.run(text)
    found = rounds(ready_harness, {"clip/libx264/1001k": noisy(), "clip/libx264/1002k": noisy(2)})
    assert len(found[0]) == 24
    assert {name for later in found[1:] for name in later} == {
        "clip/libx264/1001k",
        "clip/libx264/1002k",
    }
    assert all(len(later) == len(set(later)) * len(later) // 2 for later in found[1:])
    now = ready_harness.run_now(run["id"])
    assert now["state"] == "succeeded"
    precision = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    assert precision["interval"] == 0.05
    states = {median["scenario"]: (median["n"], median["state"]) for median in precision["medians"]}
    assert states == {
        "clip/libx264/1000k": (8, "precise"),
        "clip/libx264/1001k": (12, "unstable"),
        "clip/libx264/1002k": (12, "unstable"),
    }
    for median in precision["medians"]:
        assert median["low"] <= median["speed"] <= median["high"]


def test_a_precision_out_of_reach_ends_the_repeats_early(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(rates=2, more=_PRECISE))
    speeds = {"clip/libx264/1000k": very_noisy(), "clip/libx264/1001k": noisy()}
    work(ready_harness, speeds)
    ready_harness.run_maintenance()
    work(ready_harness, speeds)
    ready_harness.run_maintenance()
    report = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    states = [(median["n"], median["state"]) for median in report["medians"]]
    assert states == [(8, "unstable"), (8, "open")]
    rounds(ready_harness, speeds)
    report = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    states = [(median["n"], median["state"]) for median in report["medians"]]
    assert states == [(8, "unstable"), (12, "unstable")]


def test_a_maximum_too_low_for_an_interval_is_reached(ready_harness: Any) -> None:
    run = ready_harness.run(
        ready_harness.suite(repeats=1, more="precision: {interval: 0.05, max_repeats: 3}\n")
    )
    assert sum(map(len, rounds(ready_harness, {}))) == 3
    report = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    assert report["looks"] == []
    assert [(median["n"], median["state"]) for median in report["medians"]] == [(3, "few_repeats")]


@pytest.mark.slow
def test_the_order_of_later_repeats_depends_on_the_seed(ready_harness: Any) -> None:
    def order() -> list[list[str]]:
        ready_harness.run(ready_harness.suite(rates=6, repeats=8, more=_PRECISE))
        speeds = {f"clip/libx264/{1000 + n}k": noisy(n) for n in range(6)}
        return rounds(ready_harness, speeds)

    first = order()
    assert len(first) > 1
    assert order() == first
    assert any(later[:6] != sorted(later[:6]) for later in first[1:])


@pytest.mark.slow
def test_later_repeats_of_a_pair_are_neighbors_too(ready_harness: Any) -> None:
    pair = "ffmpegs: [{name: old}, {name: new}]\ncompare: [{ffmpegs: [old, new]}]\n"
    ready_harness.run(ready_harness.suite(rates=4, repeats=8, more=_PRECISE + pair))
    names = [f"clip/libx264/{1000 + n}k" for n in range(4)]
    speeds = {f"{name}/{build}": noisy(7) for name in names for build in ("old", "new")}
    found = rounds(ready_harness, speeds)
    assert len(found) > 1
    orders = set()
    for done in found:
        for first, second in zip(done[::2], done[1::2], strict=True):
            assert first.rpartition("/")[0] == second.rpartition("/")[0]
            orders.add((first.rpartition("/")[2], second.rpartition("/")[2]))
    assert orders == {("old", "new"), ("new", "old")}


def test_invalid_results_do_not_count_as_repeats(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))
    work(ready_harness, {}, verdict="invalid")
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["counts"]["queued"] == 8
    work(ready_harness, {})
    ready_harness.run_maintenance()
    (median,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["medians"]
    assert (median["n"], median["n_invalid"], median["state"]) == (8, 3, "precise")
    assert ready_harness.run_now(run["id"])["state"] == "succeeded"


def test_results_without_quality_count_as_repeats(ready_harness: Any) -> None:
    """Check results of HDR, for which VMAF has no model: their speed is as valid as any other."""
    run = ready_harness.run(ready_harness.suite(repeats=8, more=_PRECISE))
    while (claim := ready_harness.claim("worker1")) is not None:
        document = measured(ready_harness, 2.0)
        document["quality"] = {
            "status": "unavailable",
            "reason": "the source is HDR (smpte2084), for which there is no model",
        }
        assert ready_harness.result(claim, "worker1", measurement=document).is_success
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["succeeded"]) == ("succeeded", 8)
    (median,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["medians"]
    assert (median["n"], median["n_invalid"], median["state"]) == (8, 0, "precise")


def test_a_failed_scenario_gets_no_more_repeats(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=1, more=_PRECISE))
    claim = ready_harness.claim("worker1")
    assert ready_harness.fail(claim, "encode_failed").is_success
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["failed"]) == ("failed", 1)
    assert now["finished_at"] is not None


def test_the_time_budget_ends_the_repeats(ready_harness: Any) -> None:
    text = ready_harness.suite(
        repeats=3, more="precision: {interval: 0.001, max_repeats: 900, budget_s: 200}\n"
    )
    run = ready_harness.run(text)
    found = rounds(ready_harness, {"clip/libx264/1000k": noisy()})
    # Each job takes 20 s of the budget, because `work` advances the clock.
    assert sum(map(len, found)) == 10
    (median,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["medians"]
    assert median["state"] == "unstable"


def test_a_canceled_run_gets_no_more_jobs(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=2, more=_PRECISE + "control: true\n"))
    claim = ready_harness.claim("worker1")
    ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    assert ready_harness.result(claim).is_success
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["canceled"]) == ("canceled", 3)
    assert now["unsettled_nodes"] == []


@pytest.mark.parametrize("change", ["removed", "draining"])
def test_a_removed_or_draining_node_delays_no_run(ready_harness: Any, change: str) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=2, more=_PRECISE + "control: true\n"))
    work(ready_harness, {})
    if change == "removed":
        ready_harness.ok("admin", "DELETE", "/v1/nodes/worker1")
    else:
        ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["state"] == "succeeded"


def test_each_node_has_separate_repeats(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    run = ready_harness.run(ready_harness.suite(repeats=8, more=_PRECISE))
    work(ready_harness, {"clip/libx264/1000k": noisy()})
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert now["unsettled_nodes"] == ["worker1", "worker2"]
    assert now["counts"]["queued"] == 8 + 4
    assert len(work(ready_harness, {}, "worker2")) == 8
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["unsettled_nodes"] == ["worker1"]


def test_a_restarted_master_continues_the_repeats(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))
    work(ready_harness, {})
    with ready_harness.restarted() as harness:
        harness.run_maintenance()
        assert harness.run_now(run["id"])["counts"]["queued"] == 5
        harness.run_maintenance()
        assert harness.run_now(run["id"])["counts"]["queued"] == 5


@pytest.mark.slow
@only("postgresql")
def test_concurrent_maintenance_of_two_masters_queues_no_job_twice(ready_harness: Any) -> None:
    with ready_harness.restarted() as other, ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            run = ready_harness.run(ready_harness.suite(rates=3, repeats=2, more=_PRECISE))
            work(ready_harness, {})
            for future in [
                pool.submit(harness.run_maintenance) for harness in (ready_harness, other)
            ]:
                future.result()
            assert ready_harness.run_now(run["id"])["counts"]["queued"] == 3 * 6
            work(ready_harness, {})
            ready_harness.run_maintenance()
            assert ready_harness.run_now(run["id"])["state"] == "succeeded"


def test_an_unreadable_suite_ends_the_repeats_and_not_the_master(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))

    def replace_suite(transaction: Any) -> None:
        transaction.connection.execute(update(runs).values(suite="name: gone\n"))

    with ready_harness.client.portal() as portal:
        portal.call(ready_harness.services.writer.write, replace_suite)
    work(ready_harness, {})
    # The master that accepted the suite remembers it; a later release does not.
    with ready_harness.restarted() as upgraded:
        upgraded.run_maintenance()
        assert upgraded.run_now(run["id"])["state"] == "succeeded"


def test_a_run_without_precision_is_finished_by_its_last_job(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=2))
    work(ready_harness, {})
    assert ready_harness.run_now(run["id"])["finished_at"] is not None
    (median,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["medians"]
    assert (median["n"], median["low"], median["high"], median["state"]) == (
        2,
        None,
        None,
        "few_repeats",
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "precision: {max_repeats: 2}\n",
            "line 10, column 1: precision: max_repeats 2 is below repeats 3",
        ),
        ("precision: {interval: 0}\n", "line 10, column 13: "),
        (f"precision: {{max_repeats: {MAX_REPEATS + 1}}}\n", "line 10, column 13: "),
        ("precision: {budget_s: -1}\n", "line 10, column 13: "),
        ("precision: {until: 1}\n", "line 10, column 13: "),
    ],
)
def test_invalid_precision_settings_are_refused(
    ready_harness: Any, more: str, message: str
) -> None:
    body = {"suite": ready_harness.suite(repeats=3, more=more)}
    answer = ready_harness.call("submitter", "POST", "/v1/runs", body)
    assert answer.status_code == 422
    assert any(error.startswith(message) for error in answer.json()["errors"]), answer.json()


@pytest.mark.parametrize(
    "setting",
    ["interval: 1.0e-200", "interval: 0.00001", "budget_s: .inf", "budget_s: .nan"],
)
def test_a_precision_that_no_run_can_reach_is_refused(ready_harness: Any, setting: str) -> None:
    """A stopping rule with such a number once ended the maintenance of all masters for good."""
    body = {"suite": ready_harness.suite(more=f"precision: {{{setting}}}\n")}
    answer = ready_harness.call("submitter", "POST", "/v1/runs", body)
    assert answer.status_code == 422
    assert setting.partition(":")[0] in answer.text


def test_results_of_speed_zero_end_the_repeats(ready_harness: Any) -> None:
    """Such results once caused a division by zero that ended the maintenance for good."""
    run = ready_harness.run(ready_harness.suite(repeats=8, more=_PRECISE + "control: true\n"))
    found = rounds(ready_harness, {"clip/libx264/1000k": steady(0.0), SCENARIO.name: steady(0.0)})
    assert sum(name != SCENARIO.name for done in found for name in done) == 8
    report = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    assert [median["speed"] for median in report["medians"]] == [0.0]
    assert [drift["ratio"] for drift in report["drifts"]] == [None]
    assert ready_harness.run_now(run["id"])["state"] == "succeeded"


_SPEED = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(_SPEED, max_size=12),
    target_ratio=st.floats(min_value=5e-324, max_value=1),
    most=st.integers(min_value=-5, max_value=1000),
)
def test_every_number_of_repeats_is_bounded(
    values: list[float], target_ratio: float, most: int
) -> None:
    needed = repeats_needed(values, target_ratio, plan_looks(3, 12), most=most)
    assert 0 <= needed <= max(most, 0)
    interval = interval_of_median(values)
    assert interval is None or interval.half_width_ratio >= 0


@pytest.mark.parametrize("more", ["precision: {}\n", "control: true\n"])
def test_precision_requires_placement_each(ready_harness: Any, more: str) -> None:
    body = {"suite": ready_harness.suite(placement="any", more=more)}
    answer = ready_harness.call("submitter", "POST", "/v1/runs", body)
    assert answer.status_code == 422
    assert "placement each" in answer.text
