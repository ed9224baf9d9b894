"""Tests of adaptive repeats, which continue until medians are precise, and of control encodes."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from fractions import Fraction
from itertools import product
from typing import Any

import msgspec
import pytest
from databases import only
from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.confidence_interval import (
    choose_ranks,
    coverage,
    interval_of_median,
    is_precise,
    rank_at,
    repeats_needed,
)
from ffrtmp_master.runs.interim_looks import plan_looks
from ffrtmp_master.store.schema import runs
from ffrtmp_shared.control_encode import SCENARIO
from ffrtmp_shared.precision import MAX_REPEATS, Look
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

_PRECISE = "precision: {interval: 0.05, max_repeats: 12}\n"


def measured(harness: Any, speed: float, verdict: str = "valid") -> Any:
    document = msgspec.to_builtins(harness.measurement())
    document["encode"]["speed"] = speed
    document["verdict"] = {"state": verdict, "reasons": []}
    return document


def work(
    harness: Any, speeds: dict[str, Any], node: str = "worker1", verdict: str = "valid"
) -> list[str]:
    """Complete all jobs that a node can claim, and return the names of their scenarios in order."""
    done = []
    while (claim := harness.claim(node)) is not None:
        name = claim["job"]["scenario"]["name"]
        speed = next(speeds[name]) if name in speeds else 1.0
        # The duration of a job must not be zero.
        harness.clock.advance(10)
        assert harness.heartbeat(claim, node).is_success
        harness.clock.advance(10)
        assert harness.result(claim, node, measurement=measured(harness, speed, verdict)).is_success
        done.append(name)
    return done


def steady(value: float = 2.0) -> Any:
    while True:
        yield value


def noisy(seed: int = 1) -> Any:
    chance = random.Random(seed)  # noqa: S311 - not a secret
    while True:
        yield chance.uniform(1.0, 3.0)


def rounds(harness: Any, speeds: dict[str, Any]) -> list[list[str]]:
    """Complete all jobs and run maintenance, repeatedly until maintenance does not add jobs.

    Returns the names of the completed scenarios for each round.
    """
    found = []
    while done := work(harness, speeds):
        found.append(done)
        harness.run_maintenance()
    return found


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


def test_a_maximum_too_low_for_an_interval_is_reached(ready_harness: Any) -> None:
    run = ready_harness.run(
        ready_harness.suite(repeats=1, more="precision: {interval: 0.05, max_repeats: 3}\n")
    )
    assert sum(map(len, rounds(ready_harness, {}))) == 3
    report = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    assert report["looks"] == []
    assert [(median["n"], median["state"]) for median in report["medians"]] == [(3, "few_repeats")]


def test_the_order_of_later_repeats_depends_on_the_seed(ready_harness: Any) -> None:
    def order() -> list[list[str]]:
        ready_harness.run(ready_harness.suite(rates=6, repeats=8, more=_PRECISE))
        speeds = {f"clip/libx264/{1000 + n}k": noisy(n) for n in range(6)}
        return rounds(ready_harness, speeds)

    first = order()
    assert len(first) > 1
    assert order() == first
    assert any(later[:6] != sorted(later[:6]) for later in first[1:])


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


def test_a_control_encode_begins_and_ends_a_run(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx265")
    run = ready_harness.run(ready_harness.suite(repeats=2, more="control: true\n"))
    # A node that does not have the encoder of the control encode gets no control encodes.
    assert run["unsettled_nodes"] == ["worker1"]
    assert run["counts"]["queued"] == 3
    speeds = {SCENARIO.name: iter([4.0, 3.0])}
    found = rounds(ready_harness, speeds)
    assert found == [[SCENARIO.name, "clip/libx264/1000k", "clip/libx264/1000k"], [SCENARIO.name]]
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["succeeded"]) == ("succeeded", 4)
    (drift,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["drifts"]
    assert drift == {
        "node": "worker1",
        "n": 2,
        "first_speed": 4.0,
        "last_speed": 3.0,
        "ratio": 0.75,
    }


def test_a_long_run_has_intermediate_control_encodes(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=4, more="control: true\n"))
    first, second = ready_harness.claim("worker1"), None
    assert ready_harness.result(first).is_success
    second = ready_harness.claim("worker1")
    ready_harness.clock.advance(control_encodes.EVERY.total_seconds() + 1)
    ready_harness.run_maintenance()
    # The lease of the second job has expired. The control encode must precede its next attempt.
    assert second is not None
    assert ready_harness.run_now(run["id"])["counts"]["queued"] >= 3
    ready_harness.clock.advance(60)
    ready_harness.register("worker1")
    assert ready_harness.claim("worker1")["job"]["scenario"]["name"] == SCENARIO.name


def test_a_restarted_master_continues_the_repeats(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))
    work(ready_harness, {})
    with ready_harness.restarted() as harness:
        harness.run_maintenance()
        assert harness.run_now(run["id"])["counts"]["queued"] == 5
        harness.run_maintenance()
        assert harness.run_now(run["id"])["counts"]["queued"] == 5


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


def test_the_interval_covers_the_median_at_its_confidence_level() -> None:
    chance = random.Random(7)  # noqa: S311 - not a secret
    covered = 0
    trials = 2000
    for _ in range(trials):
        # The values are log-normal, like durations. Their mean and median differ, so an interval
        # for normal values would be wrong.
        interval = interval_of_median([chance.lognormvariate(0, 0.5) for _ in range(15)])
        assert interval is not None
        covered += interval.low <= 1.0 <= interval.high
    # The coverage is at least 95 % by construction. The tolerance is three standard errors.
    assert covered / trials > 0.95 - 3 * (0.05 * 0.95 / trials) ** 0.5
    assert covered / trials < 0.99


def test_five_values_have_no_interval_and_six_have_their_range() -> None:
    assert interval_of_median([1, 2, 3, 4, 5]) is None
    interval = interval_of_median([6.0, 1.0, 4.0, 2.0, 5.0, 3.0])
    assert interval is not None
    assert (interval.low, interval.median, interval.high) == (1.0, 3.5, 6.0)


def looks(*pairs: tuple[int, int]) -> tuple[Look, ...]:
    return tuple(Look(n=count, rank=rank) for count, rank in pairs)


def exact_coverage(planned: Sequence[Look]) -> Fraction:
    """Return the joint coverage by enumeration of which values are below the median."""
    last = planned[-1].n
    covered = 0
    for below in product((0, 1), repeat=last):
        counts = [(sum(below[: look.n]), look) for look in planned]
        covered += all(look.rank <= count <= look.n - look.rank for count, look in counts)
    return Fraction(covered, 2**last)


@pytest.mark.parametrize(
    "planned",
    [looks((6, 1)), looks((8, 1), (12, 3)), looks((6, 1), (9, 2), (13, 4)), looks((5, 2), (9, 1))],
)
def test_the_joint_coverage_is_exact(planned: tuple[Look, ...]) -> None:
    assert coverage(planned) == pytest.approx(float(exact_coverage(planned)), abs=1e-12)


@pytest.mark.parametrize(
    ("planned", "percent"),
    [
        (looks((8, 1), (15, 4), (30, 9)), 95.16),
        (looks((12, 2), (20, 5), (30, 10)), 95.04),
        (looks((8, 1), (12, 2), (16, 4), (20, 5), (25, 7), (30, 9)), 95.73),
        (looks((8, 1), (12, 2), (18, 4), (27, 8), (40, 13), (60, 21)), 95.38),
    ],
)
def test_ranks_and_coverage_equal_the_published_table(
    planned: tuple[Look, ...], percent: float
) -> None:
    assert choose_ranks([look.n for look in planned]) == planned
    assert round(100 * coverage(planned), 2) == percent


def test_the_looks_are_planned_from_the_numbers_of_repeats() -> None:
    assert plan_looks(3, 30) == looks((8, 1), (12, 2), (18, 5), (30, 9))
    assert plan_looks(3, 6) == looks((6, 1))
    assert plan_looks(10, 12) == looks((10, 2), (12, 3))
    assert plan_looks(12, 12) == looks((12, 3))
    assert plan_looks(3, 5) == ()


@pytest.mark.parametrize("max_repeats", [6, 7, 8, 9, 11, 12, 15, 20, 30, 50, 99, MAX_REPEATS])
def test_every_plan_covers_the_median_at_its_confidence_level(max_repeats: int) -> None:
    planned = plan_looks(3, max_repeats)
    assert 0.95 <= coverage(planned) <= coverage(looks((8, 1)))
    assert planned[-1].n == max_repeats
    for count in range(6, max_repeats, max(max_repeats // 20, 1)):
        passed = tuple(look for look in planned if look.n < count)
        rank = rank_at(count, planned)
        if rank and count not in {look.n for look in planned}:
            assert coverage((*passed, Look(n=count, rank=rank))) >= 0.95


@pytest.mark.parametrize("spread", [0.005, 0.01, 0.02, 0.03])
def test_precise_medians_are_wrong_in_at_most_5_percent(spread: float) -> None:
    """Simulate the whole loop: a median is wrong if it is called precise and is not covered."""
    chance = random.Random(f"looks {spread}")  # noqa: S311 - not a secret
    planned, trials, wrong = plan_looks(3, 30), 1500, 0
    for _ in range(trials):
        values: list[float] = []
        while needed := repeats_needed(values, 0.01, planned, most=30 - len(values)):
            values += [chance.lognormvariate(0, spread) for _ in range(needed)]
        assert len(values) in {look.n for look in planned}
        interval = interval_of_median(values, planned)
        assert interval is not None
        is_covered = interval.low <= 1.0 <= interval.high
        wrong += is_precise(values, 0.01, planned) and not is_covered
    # The tolerance is three standard errors.
    assert wrong / trials < 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def test_number_of_needed_repeats() -> None:
    planned = looks((8, 1), (12, 3))
    assert repeats_needed([1.0] * 2, 0.01, planned, most=100) == 6
    assert repeats_needed([1.0] * 2, 0.01, planned, most=3) == 3
    assert repeats_needed([1.0] * 8, 0.01, planned, most=100) == 0
    wide = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert repeats_needed(wide, 0.01, planned, most=100) == 4
    assert repeats_needed(wide, 0.01, planned, most=-3) == 0
    assert repeats_needed(wide + wide, 0.01, planned, most=100) == 0, "there is no further look"
    # Between two looks, even equal values decide nothing.
    assert repeats_needed([*wide, 4.5], 2.0, looks((9, 1), (12, 3)), most=100) == 0
    assert repeats_needed([1.0] * 7, 0.01, planned, most=100) == 1
    # Without a look, the maximum number of repeats is measured.
    assert repeats_needed([1.0], 0.01, (), most=2) == 2
    assert repeats_needed([1.0], 0.01, (), most=-1) == 0
    # A median that was precise at a look needs no more repeats.
    assert repeats_needed([1.0] * 8 + [2.0], 0.01, planned, most=100) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("precision: {max_repeats: 2}\n", "line 10: precision: max_repeats 2 is below repeats 3"),
        ("precision: {interval: 0}\n", "line 10: "),
        (f"precision: {{max_repeats: {MAX_REPEATS + 1}}}\n", "line 10: "),
        ("precision: {budget_s: -1}\n", "line 10: "),
        ("precision: {until: 1}\n", "line 10: "),
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


def test_control_encodes_are_six_hours_apart() -> None:
    assert timedelta(hours=6) == control_encodes.EVERY
