"""Tests of the detection of node drift, from the control encodes of simulated runs."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from ffrtmp_analysis.speed_range import MIN_HISTORY
from ffrtmp_master.exporters.health import FarmHealth, Health
from ffrtmp_shared.control_encode import SCENARIO
from ffrtmp_shared.host_environment import NODE_SHARED
from ffrtmp_shared.node_models import NodeList

USUAL = 2.0


def noisy(seed: int) -> Iterator[float]:
    """Yield speeds whose standard deviation is 1 %."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    while True:
        yield USUAL * chance.gauss(1, 0.01)


def measured(
    harness: Any, speed: float, *, verdict: str = "valid", build: str = "f", use: str | None = None
) -> Any:
    """Return a measurement with a speed, as JSON."""
    found = msgspec.to_builtins(harness.measurement())
    found["encode"]["speed"] = speed
    found["verdict"] = {"state": verdict, "reasons": []}
    found["provenance"]["ffmpeg"]["sha256"] = build * 64
    if use is not None:
        found["environment"]["node_use"] = use
    return found


def run(
    harness: Any, speeds: Iterator[float], more: str = "", *, repeats: int = 2, **options: Any
) -> Any:
    """Run a suite with control encodes of these speeds, and return the run when it has ended."""
    created = harness.run(harness.suite(repeats=repeats, more=f"control: true\n{more}"))
    node = created["nodes"][0]
    while claim := harness.claim(node):
        is_control = claim["job"]["scenario"]["name"] == SCENARIO.name
        harness.heartbeat(claim, node)
        harness.clock.advance(20)
        document = measured(harness, next(speeds) if is_control else 1.0, **options)
        assert harness.result(claim, node, measurement=document).is_success
        harness.run_maintenance()
    found = harness.run_now(created["id"])
    assert found["state"] == "succeeded"
    return found


def controls_of(harness: Any, found: Any) -> int:
    names = [result["scenario"]["name"] for result in results_of(harness, found)]
    return names.count(SCENARIO.name)


def results_of(harness: Any, found: Any) -> list[Any]:
    return list(harness.every("/v1/results", run=found["id"]))


def suspicion(harness: Any, name: str = "worker1") -> Any:
    nodes = harness.ok("viewer", "GET", "/v1/nodes")["items"]
    return next(node["suspicion"] for node in nodes if node["name"] == name)


def reasons_of(harness: Any, found: Any) -> list[tuple[str, list[str]]]:
    """Return the verdict of each result of a run, with the codes of its reasons."""
    verdicts = [result["measurement"]["verdict"] for result in results_of(harness, found)]
    return [(v["state"], [reason["code"] for reason in v["reasons"]]) for v in verdicts]


@pytest.fixture
def known(ready_harness: Any) -> Any:
    """A master whose node has had as many runs as are needed to judge the next one."""
    speeds = noisy(1)
    for _ in range(MIN_HISTORY):
        run(ready_harness, speeds, repeats=1)
    return ready_harness


@pytest.mark.slow
def test_ten_equal_runs_mark_no_node(known: Any) -> None:
    speeds = noisy(2)
    found = [run(known, speeds) for _ in range(10)]
    assert suspicion(known) is None
    assert {state for each in found for state, _ in reasons_of(known, each)} == {"valid"}


@pytest.mark.slow
def test_a_run_counts_once_however_many_control_encodes_it_has(ready_harness: Any) -> None:
    speeds = noisy(1)
    for _ in range(MIN_HISTORY - 1):
        run(ready_harness, speeds)
    run(ready_harness, iter([USUAL / 1.2] * 2))
    assert suspicion(ready_harness) is None, "the history consists of too few runs"
    run(ready_harness, iter([USUAL / 1.2] * 2))
    assert suspicion(ready_harness) is not None


@pytest.mark.slow
def test_noise_that_is_common_to_the_control_encodes_of_a_run_marks_no_node(
    ready_harness: Any,
) -> None:
    # The ranges of single control encodes would contain only the runs with the same conditions.
    of_runs = [1.0, 1.03, 0.97, 1.02, 0.99, 1.01, 0.98, 1.03, 0.97, 1.0, 1.05, 0.95]
    for factor in of_runs:
        run(ready_harness, iter([USUAL * factor] * 3))
    assert suspicion(ready_harness) is None


def test_a_node_that_becomes_15_percent_slower_is_marked_with_its_results(known: Any) -> None:
    before = run(known, noisy(3))
    slowed = run(known, iter([USUAL, USUAL / 1.15, USUAL / 1.16]))
    assert controls_of(known, slowed) == 3, "an unusual last control encode is repeated"
    assert set(map(str, reasons_of(known, slowed))) == {"('degraded', ['node-drift'])"}
    assert set(map(str, reasons_of(known, before))) == {"('valid', [])"}
    found = suspicion(known)
    assert found["run_id"] == slowed["id"]
    assert found["since"] == slowed["finished_at"]
    assert found["speed"] == pytest.approx(USUAL / 1.16)
    assert found["ratio"] == pytest.approx(1 / 1.16, rel=0.02)
    assert USUAL / 1.15 < found["low"] < USUAL < found["high"]
    (result, *_) = results_of(known, slowed)
    (reason,) = result["measurement"]["verdict"]["reasons"]
    assert reason["detail"].startswith("control encodes of the node ran at 1.72 x real time")


@pytest.mark.slow
def test_a_drift_is_in_every_form_of_the_results(known: Any) -> None:
    slowed = run(known, iter([USUAL, USUAL * 1.2, USUAL * 1.2]))
    page = known.ok("viewer", "GET", "/v1/results?limit=1")
    assert page["drifts"] == 1
    export = f"/v1/results/export?run={slowed['id']}&format="
    lines = known.call("viewer", "GET", export + "jsonl").text.splitlines()
    assert len(lines) == 5
    assert all('"state":"degraded"' in line and '"node-drift"' in line for line in lines)
    rows = known.call("viewer", "GET", export + "csv").text.splitlines()[1:]
    assert all(",degraded,node-drift," in row for row in rows)
    (drift,) = known.ok("viewer", "GET", f"/v1/runs/{slowed['id']}/precision")["drifts"]
    assert drift["is_unusual"] is True
    assert drift["low"] < USUAL < drift["high"] < drift["last_speed"]


@pytest.mark.slow
def test_a_single_unusual_control_encode_marks_no_node(known: Any) -> None:
    first = run(known, iter([USUAL / 1.3, USUAL]))
    assert controls_of(known, first) == 2
    last = run(known, iter([USUAL, USUAL / 1.3, USUAL]))
    assert controls_of(known, last) == 3
    noise = run(known, iter([USUAL, USUAL / 1.3, USUAL * 1.3]))
    assert controls_of(known, noise) == 3
    assert suspicion(known) is None
    assert {state for each in (first, last, noise) for state, _ in reasons_of(known, each)} == {
        "valid"
    }


@pytest.mark.slow
def test_an_invalid_result_stays_invalid(known: Any) -> None:
    created = known.run(known.suite(more="control: true\n"))
    verdicts = {SCENARIO.name: "valid"}
    speeds = iter([USUAL / 1.3, USUAL / 1.3])
    while claim := known.claim("worker1"):
        name = claim["job"]["scenario"]["name"]
        speed = next(speeds) if name == SCENARIO.name else 1.0
        document = measured(known, speed, verdict=verdicts.get(name, "invalid"))
        assert known.result(claim, measurement=document).is_success
        known.run_maintenance()
    assert ("invalid", ["node-drift"]) in reasons_of(known, created)


@pytest.mark.slow
def test_a_suspicion_lasts_until_a_control_encode_is_usual(known: Any) -> None:
    slowed = run(known, iter([USUAL / 1.2] * 2))
    assert controls_of(known, slowed) == 2, "the first control encode is confirmed by the last"
    begun = suspicion(known)
    run(known, iter([USUAL / 1.2] * 2))
    assert suspicion(known)["since"] == begun["since"]
    assert suspicion(known)["run_id"] == slowed["id"]
    created = known.run(known.suite(more="control: true\n"))
    claim = known.claim("worker1")
    assert known.result(claim, measurement=measured(known, USUAL)).is_success
    assert suspicion(known) is None
    known.ok("submitter", "POST", f"/v1/runs/{created['id']}/cancel")
    assert {state for state, _ in reasons_of(known, slowed)} == {"degraded"}


@pytest.mark.slow
def test_health_shows_suspect_nodes(known: Any) -> None:
    def value() -> float | None:
        health = FarmHealth()
        nodes = msgspec.convert(known.ok("viewer", "GET", "/v1/nodes"), NodeList).items
        found = health.metrics_of(Health(is_ready=True, nodes=nodes))
        (family,) = [metric for metric in found if metric.name == "ffrtmp_node_suspect"]
        (sample,) = family.samples
        assert sample.labels == {"node": "worker1"}
        return sample.value

    assert value() == 0
    run(known, iter([USUAL / 1.2] * 2))
    assert value() == 1


@pytest.mark.slow
def test_another_ffmpeg_begins_another_history(known: Any) -> None:
    run(known, iter([USUAL / 1.2] * 2))
    assert suspicion(known) is not None
    run(known, iter([USUAL / 1.2] * 2), build="e")
    assert suspicion(known) is None, "the speeds of another build are not comparable"
    run(known, iter([USUAL / 1.2] * 2))
    assert suspicion(known) is not None


@pytest.mark.slow
def test_a_node_that_is_registered_again_has_no_history(known: Any) -> None:
    known.ok("admin", "DELETE", "/v1/nodes/worker1")
    known.clock.advance(60)
    known.register("worker1")
    slowed = run(known, iter([USUAL / 1.2] * 2))
    assert suspicion(known) is None
    assert {state for state, _ in reasons_of(known, slowed)} == {"valid"}


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"verdict": "invalid"}, {"use": NODE_SHARED}])
def test_control_encodes_that_do_not_describe_the_node_are_not_judged(
    known: Any, change: dict[str, str]
) -> None:
    run(known, iter([USUAL / 1.3] * 3), **change)
    assert suspicion(known) is None


@pytest.mark.slow
def test_a_result_that_is_repeated_counts_once(known: Any) -> None:
    known.run(known.suite(more="control: true\n"))
    claim = known.claim("worker1")
    for _ in range(2):
        answer = known.result(claim, measurement=measured(known, USUAL / 1.2))
        assert answer.is_success
    assert suspicion(known) is None


@pytest.mark.slow
def test_nodes_have_separate_histories(known: Any) -> None:
    known.register("worker2")
    text = known.suite(repeats=2, placement="{node: worker2}", more="control: true\n")
    created = known.run(text)
    assert created["nodes"] == ["worker2"]
    while claim := known.claim("worker2"):
        document = measured(known, USUAL / 1.3)
        assert known.result(claim, "worker2", measurement=document).is_success
        known.run_maintenance()
    assert suspicion(known, "worker2") is None
