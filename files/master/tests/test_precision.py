"""Repeats that go on until medians are known, and control encodes, with a real master."""

import random
import statistics
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from databases import only
from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.confidence_interval import interval_of_median, repeats_needed
from ffrtmp_master.store.schema import runs
from ffrtmp_shared.control_encode import SCENARIO
from ffrtmp_shared.precision import MAX_REPEATS
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
    """Do all that is queued for a node; return the scenarios in the order they were done."""
    done = []
    while (claim := harness.claim(node)) is not None:
        name = claim["job"]["scenario"]["name"]
        speed = next(speeds[name]) if name in speeds else 1.0
        # So that a job takes some time.
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
    chance = random.Random(seed)  # noqa: S311 - no secret
    while True:
        yield chance.uniform(1.0, 3.0)


def rounds(harness: Any, speeds: dict[str, Any]) -> list[list[str]]:
    """Work and let the master look, until nothing more comes."""
    found = []
    while done := work(harness, speeds):
        found.append(done)
        harness.run_maintenance()
    return found


def test_what_is_steady_is_repeated_until_it_has_an_interval(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))
    assert run["unsettled_nodes"] == ["worker1"]
    assert work(ready_harness, {}) == 3 * ["clip/libx264/1000k"]
    now = ready_harness.run_now(run["id"])
    # All jobs are done, and yet the run is not.
    assert (now["state"], now["counts"]["succeeded"], now["finished_at"]) == ("running", 3, None)
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["counts"]["queued"] == 3
    assert len(work(ready_harness, {})) == 3
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["succeeded"]) == ("succeeded", 6)
    assert now["finished_at"] is not None
    assert now["unsettled_nodes"] == []
    jobs = ready_harness.every("/v1/jobs", run=run["id"])
    assert [job["repeat"] for job in jobs] == [1, 2, 3, 4, 5, 6]
    assert [job["position"] for job in jobs] == list(range(6))
    results = ready_harness.every("/v1/results", run=run["id"])
    assert sorted(one["repeat"] for one in results) == [1, 2, 3, 4, 5, 6]


def test_only_what_is_noisy_goes_on_and_no_further_than_allowed(ready_harness: Any) -> None:
    text = ready_harness.suite(rates=3, repeats=6, more=_PRECISE)
    run = ready_harness.run(text)
    found = rounds(ready_harness, {"clip/libx264/1001k": noisy(), "clip/libx264/1002k": noisy(2)})
    assert len(found[0]) == 18
    assert {name for later in found[1:] for name in later} == {
        "clip/libx264/1001k",
        "clip/libx264/1002k",
    }
    assert all(len(later) == len(set(later)) * len(later) // 2 for later in found[1:])
    now = ready_harness.run_now(run["id"])
    assert now["state"] == "succeeded"
    precision = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    assert precision["interval"] == 0.05
    states = {one["scenario"]: (one["n"], one["state"]) for one in precision["medians"]}
    assert states == {
        "clip/libx264/1000k": (6, "precise"),
        "clip/libx264/1001k": (12, "unstable"),
        "clip/libx264/1002k": (12, "unstable"),
    }
    for one in precision["medians"]:
        assert one["low"] <= one["speed"] <= one["high"]


def test_the_order_of_later_repeats_is_the_seeds(ready_harness: Any) -> None:
    def order() -> list[list[str]]:
        ready_harness.run(ready_harness.suite(rates=6, repeats=6, more=_PRECISE))
        speeds = {f"clip/libx264/{1000 + n}k": noisy(n) for n in range(6)}
        return rounds(ready_harness, speeds)

    first = order()
    assert len(first) > 1
    assert order() == first
    assert any(later[:6] != sorted(later[:6]) for later in first[1:])


def test_invalid_results_are_no_repeats_of_the_median(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))
    work(ready_harness, {}, verdict="invalid")
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["counts"]["queued"] == 6
    work(ready_harness, {})
    ready_harness.run_maintenance()
    (one,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["medians"]
    assert (one["n"], one["n_invalid"], one["state"]) == (6, 3, "precise")
    assert ready_harness.run_now(run["id"])["state"] == "succeeded"


def test_what_failed_for_good_is_not_tried_again_and_again(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=1, more=_PRECISE))
    claim = ready_harness.claim("worker1")
    assert ready_harness.fail(claim, "encode_failed").is_success
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["failed"]) == ("failed", 1)
    assert now["finished_at"] is not None


def test_the_budget_ends_the_repeats(ready_harness: Any) -> None:
    text = ready_harness.suite(
        repeats=3, more="precision: {interval: 0.001, max_repeats: 900, budget_s: 200}\n"
    )
    run = ready_harness.run(text)
    found = rounds(ready_harness, {"clip/libx264/1000k": noisy()})
    # Each job takes 20 s of the clock.
    assert sum(map(len, found)) == 10
    (one,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["medians"]
    assert one["state"] == "unstable"


def test_a_canceled_run_gets_nothing_more(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=2, more=_PRECISE + "control: true\n"))
    work_of_one = ready_harness.claim("worker1")
    ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    assert ready_harness.result(work_of_one).is_success
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert (now["state"], now["counts"]["canceled"]) == ("canceled", 3)
    assert now["unsettled_nodes"] == []


@pytest.mark.parametrize("how", ["removed", "draining"])
def test_a_node_that_is_not_to_work_any_more_holds_up_no_run(ready_harness: Any, how: str) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=2, more=_PRECISE + "control: true\n"))
    work(ready_harness, {})
    if how == "removed":
        ready_harness.ok("admin", "DELETE", "/v1/nodes/worker1")
    else:
        ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["state"] == "succeeded"


def test_each_node_goes_on_by_itself(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    run = ready_harness.run(ready_harness.suite(repeats=6, more=_PRECISE))
    work(ready_harness, {"clip/libx264/1000k": noisy()})
    ready_harness.run_maintenance()
    now = ready_harness.run_now(run["id"])
    assert now["unsettled_nodes"] == ["worker1", "worker2"]
    assert now["counts"]["queued"] == 6 + 3
    assert len(work(ready_harness, {}, "worker2")) == 6
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["unsettled_nodes"] == ["worker1"]


def test_a_control_encode_begins_and_ends_a_run(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx265")
    run = ready_harness.run(ready_harness.suite(repeats=2, more="control: true\n"))
    # A node that cannot make one has none.
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


def test_a_long_run_has_control_encodes_in_between(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=4, more="control: true\n"))
    first, second = ready_harness.claim("worker1"), None
    assert ready_harness.result(first).is_success
    second = ready_harness.claim("worker1")
    ready_harness.clock.advance(control_encodes.EVERY.total_seconds() + 1)
    ready_harness.run_maintenance()
    # Its lease ran out meanwhile; what matters is that the control encode goes before it.
    assert second is not None
    assert ready_harness.run_now(run["id"])["counts"]["queued"] >= 3
    ready_harness.clock.advance(60)
    ready_harness.register("worker1")
    assert ready_harness.claim("worker1")["job"]["scenario"]["name"] == SCENARIO.name


def test_a_master_that_died_in_between_goes_on(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))
    work(ready_harness, {})
    with ready_harness.restarted() as harness:
        harness.run_maintenance()
        assert harness.run_now(run["id"])["counts"]["queued"] == 3
        harness.run_maintenance()
        assert harness.run_now(run["id"])["counts"]["queued"] == 3


@only("postgresql")
def test_two_masters_that_look_at_once_queue_nothing_twice(ready_harness: Any) -> None:
    with ready_harness.restarted() as other, ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            run = ready_harness.run(ready_harness.suite(rates=3, repeats=2, more=_PRECISE))
            work(ready_harness, {})
            for future in [pool.submit(one.run_maintenance) for one in (ready_harness, other)]:
                future.result()
            assert ready_harness.run_now(run["id"])["counts"]["queued"] == 3 * 4
            work(ready_harness, {})
            ready_harness.run_maintenance()
            assert ready_harness.run_now(run["id"])["state"] == "succeeded"


def test_a_suite_of_another_release_ends_the_repeats_and_not_the_master(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=3, more=_PRECISE))

    def age(transaction: Any) -> None:
        transaction.connection.execute(update(runs).values(suite="name: gone\n"))

    with ready_harness.client.portal() as portal:
        portal.call(ready_harness.services.writer.write, age)
    work(ready_harness, {})
    ready_harness.run_maintenance()
    assert ready_harness.run_now(run["id"])["state"] == "succeeded"


def test_a_run_without_it_is_finished_by_its_last_job(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(repeats=2))
    work(ready_harness, {})
    assert ready_harness.run_now(run["id"])["finished_at"] is not None
    (one,) = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")["medians"]
    assert (one["n"], one["low"], one["high"], one["state"]) == (2, None, None, "few_repeats")


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    held = 0
    tries = 2000
    for _ in range(tries):
        # Log-normal, as times are: mean and median differ, and no normal theory holds.
        interval = interval_of_median([chance.lognormvariate(0, 0.5) for _ in range(15)])
        assert interval is not None
        held += interval.low <= 1.0 <= interval.high
    # At least 95 % by its making; three standard errors of the count below.
    assert held / tries > 0.95 - 3 * (0.05 * 0.95 / tries) ** 0.5
    assert held / tries < 0.99


def test_five_values_have_no_interval_and_six_their_range() -> None:
    assert interval_of_median([1, 2, 3, 4, 5]) is None
    interval = interval_of_median([6.0, 1.0, 4.0, 2.0, 5.0, 3.0])
    assert interval is not None
    assert (interval.low, interval.median, interval.high) == (1.0, 3.5, 6.0)


def test_how_many_more() -> None:
    assert repeats_needed([1.0] * 2, 0.01, most=100) == 4
    assert repeats_needed([1.0] * 2, 0.01, most=3) == 3
    assert repeats_needed([1.0] * 6, 0.01, most=100) == 0
    wide = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert repeats_needed(wide, 0.01, most=100) == 4
    assert repeats_needed(wide, 0.01, most=0) == 0
    assert repeats_needed(wide, 0.01, most=-3) == 0
    barely = [0.985, 1.0, 1.0, 1.0, 1.0, 1.01]
    assert repeats_needed(barely, 0.012, most=100) == 1
    assert statistics.median(barely) == 1.0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("precision: {max_repeats: 2}\n", "line 10: precision: max_repeats 2 is below repeats 3"),
        ("precision: {interval: 0}\n", "line 10: "),
        (f"precision: {{max_repeats: {MAX_REPEATS + 1}}}\n", "line 10: "),
        ("precision: {budget_s: -1}\n", "line 10: "),
        ("precision: {until: 1}\n", "line 10: "),
    ],
)
def test_precision_that_cannot_be_is_refused(ready_harness: Any, more: str, said: str) -> None:
    body = {"suite": ready_harness.suite(repeats=3, more=more)}
    answer = ready_harness.call("submitter", "POST", "/v1/runs", body)
    assert answer.status_code == 422
    assert any(error.startswith(said) for error in answer.json()["errors"]), answer.json()


@pytest.mark.parametrize("more", ["precision: {}\n", "control: true\n"])
def test_repeats_that_may_be_anywhere_have_no_median(ready_harness: Any, more: str) -> None:
    body = {"suite": ready_harness.suite(placement="any", more=more)}
    answer = ready_harness.call("submitter", "POST", "/v1/runs", body)
    assert answer.status_code == 422
    assert "placement each" in answer.text


def test_six_hours_lie_between_control_encodes() -> None:
    assert timedelta(hours=6) == control_encodes.EVERY
