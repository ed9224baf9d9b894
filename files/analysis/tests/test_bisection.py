"""Tests of the search for the build of a change, with simulated builds."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from ffrtmp_analysis.bisection.measured_batches import Batch, Measure, Stage, Target
from ffrtmp_analysis.bisection.search import (
    BisectionConclusion,
    Outcome,
    SearchSettings,
    continue_search,
)
from ffrtmp_analysis.comparison.compared_results import Repeat, ScenarioResults
from ffrtmp_analysis.comparison.differences import ComparisonVerdict, Pairing
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_shared.verdict import VerdictState

_SPEED = SearchSettings((Quantity.SPEED, Quantity.BIT_RATE))


@dataclass
class Builds:
    """Simulated builds with one scenario for each name.

    `speeds` and `bit_rates` have the value of each build. Speeds have the noise `spread`, and a
    round in common the noise `drift`, both relative.
    """

    speeds: Sequence[float]
    bit_rates: Sequence[float]
    seed: int
    spread: float = 0.02
    drift: float = 0.05
    scenarios: Sequence[str] = ("x264/crf23",)
    disturbed: bool = False
    encodes: int = 0
    requests: list[Measure] = field(default_factory=list)

    def __post_init__(self) -> None:  # noqa: D105
        self._random = random.Random(self.seed)  # noqa: S311 - not a secret

    def measure(self, request: Measure) -> Batch:
        number = len(self.requests)
        self.requests.append(request)
        names = [request.target.configuration] if request.target else self.scenarios
        results: dict[int, tuple[ScenarioResults, ...]] = {}
        rounds = [self._random.gauss(0, self.drift) for _ in range(request.repeats)]
        for build in request.builds:
            self.encodes += request.repeats * len(names)
            results[build] = tuple(self._results(build, name, number, rounds) for name in names)
        return Batch(request=request, results=results)

    def _results(
        self, build: int, name: str, number: int, rounds: Sequence[float]
    ) -> ScenarioResults:
        def speed(common: float) -> float:
            return self.speeds[build] * (1 + common) * (1 + self._random.gauss(0, self.spread))

        return ScenarioResults(
            node="local",
            source="clip",
            configuration=name,
            repeats=tuple(
                Repeat(
                    round=f"{number}/{n}",
                    values={
                        Quantity.SPEED: speed(common),
                        Quantity.BIT_RATE: self.bit_rates[build],
                    },
                    state=VerdictState.DEGRADED if self.disturbed else VerdictState.VALID,
                    reasons=("other-load",) if self.disturbed else (),
                    digest=str(self.bit_rates[build]),
                )
                for n, common in enumerate(rounds)
            ),
        )

    def search(
        self, settings: SearchSettings = _SPEED, keep: Callable[[Batch], Batch] = lambda b: b
    ) -> BisectionConclusion:
        batches: list[Batch] = []
        for _ in range(100):
            found = continue_search(len(self.speeds), batches, settings)
            if isinstance(found, BisectionConclusion):
                return found
            batches.append(keep(self.measure(found)))
        raise AssertionError("the search does not end")


def _slower_from(build: int, factor: float = 0.9, builds: int = 9) -> list[float]:
    return [4.0 * (factor if number >= build else 1.0) for number in range(builds)]


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.95, 0.7])
def test_the_build_that_became_slower_is_named(factor: float) -> None:
    right, wrong, encodes = 0, 0, []
    for seed in range(80):
        place = 1 + seed % 8
        builds = Builds(_slower_from(place, factor), 9 * [1000.0], seed)
        found = builds.search()
        encodes.append(builds.encodes)
        if found.outcome is Outcome.FOUND:
            right += (found.before, found.after) == (place - 1, place)
            wrong += (found.before, found.after) != (place - 1, place)
            assert found.difference is not None
            assert found.difference.verdict is ComparisonVerdict.SLOWER
    assert wrong <= 2
    assert right >= 76
    # An exhaustive comparison of neighbors with eight repeats takes 128 encodes.
    assert sum(encodes) / len(encodes) < 128


@pytest.mark.slow
def test_equal_builds_have_no_change() -> None:
    outcomes = [
        Builds(9 * [4.0], 9 * [1000.0], seed, scenarios=("a", "b", "c")).search()
        for seed in range(80)
    ]
    false = sum(found.outcome is Outcome.FOUND for found in outcomes)
    assert false <= 5
    shown = [found for found in outcomes if found.outcome is Outcome.NOT_SHOWN]
    assert len(shown) >= 70
    for found in shown:
        assert found.target is None
        for difference in found.ends:
            if difference.verdict is ComparisonVerdict.NOT_SHOWN:
                assert difference.detectable is not None
                assert difference.detectable < 0.1


def test_a_change_of_the_size_needs_two_encodes_of_each_build() -> None:
    sizes = [1000.0] * 6 + [1030.0] * 3
    builds = Builds(9 * [4.0], sizes, seed=1)
    found = builds.search(SearchSettings((Quantity.BIT_RATE,)))
    assert (found.outcome, found.before, found.after) == (Outcome.FOUND, 5, 6)
    assert found.target == Target(
        source="clip", configuration="x264/crf23", quantity=Quantity.BIT_RATE
    )
    assert found.difference is not None
    assert found.difference.pairing is Pairing.EXACT
    assert found.difference.change == pytest.approx(0.03)
    # The first and the last build, and three or four in the middle.
    assert builds.encodes <= 2 * (2 + 4)


def test_the_most_important_quantity_is_searched_for_first() -> None:
    sizes = [1000.0] * 2 + [1300.0] * 7
    builds = Builds(_slower_from(7, 0.8), sizes, seed=2)
    found = builds.search()
    assert found.target is not None
    assert (found.target.quantity, found.after) == (Quantity.SPEED, 7)
    other = SearchSettings((Quantity.BIT_RATE, Quantity.SPEED))
    assert Builds(_slower_from(7, 0.8), sizes, seed=2).search(other).after == 2


def test_only_the_scenario_that_became_worse_is_measured_further() -> None:
    builds = Builds(_slower_from(4, 0.8), 9 * [1000.0], seed=3, scenarios=("a", "b"))
    assert builds.search().outcome is Outcome.FOUND
    assert builds.requests[0].stage is Stage.ENDS
    assert builds.requests[0].target is None
    assert all(request.target is not None for request in builds.requests[1:])


def test_an_interrupted_search_continues_with_the_same_request() -> None:
    builds = Builds(_slower_from(4, 0.8), 9 * [1000.0], seed=4)
    batches: list[Batch] = []
    while isinstance(found := continue_search(9, batches, _SPEED), Measure):
        # Nothing else than the measurements is needed to continue.
        assert continue_search(9, list(batches), _SPEED) == found
        batches.append(builds.measure(found))
    requests = [(request.stage, request.before, request.after) for request in builds.requests]
    assert found.outcome is Outcome.FOUND
    assert len(set(requests)) >= 4


def test_a_change_in_two_steps_is_found_in_one_of_them() -> None:
    for seed in range(10):
        builds = Builds([4.0, 4.0 * 0.8**0.5, 3.2], 3 * [1000.0], seed)
        found = builds.search()
        # Each step is half of the change, which the direct comparison shows.
        assert found.outcome is Outcome.FOUND
        assert found.after - found.before == 1
        assert found.difference is not None
        assert found.difference.change == pytest.approx(0.8**0.5 - 1, abs=0.03)
        assert found.ends[0].change == pytest.approx(-0.2, abs=0.03)


def test_a_build_that_cannot_be_compared_is_undecided() -> None:
    def disturb(batch: Batch) -> Batch:
        if batch.request.stage is not Stage.STEP:
            return batch
        others = Builds(builds.speeds, builds.bit_rates, seed=1, disturbed=True)
        return others.measure(batch.request)

    builds = Builds(_slower_from(2, 0.8, builds=3), 3 * [1000.0], seed=5)
    found = builds.search(SearchSettings((Quantity.SPEED,), repeats_max=8), disturb)
    assert (found.outcome, found.before, found.after) == (Outcome.UNDECIDED, 0, 2)


def test_two_builds_are_only_compared() -> None:
    found = Builds([4.0, 3.6], 2 * [1000.0], seed=6).search()
    assert (found.outcome, found.before, found.after) == (Outcome.FOUND, 0, 1)
    assert found.difference is not None
    assert found.difference.high is not None
    assert found.difference.high < 0


def test_disturbed_measurements_are_not_comparable() -> None:
    settings = SearchSettings((Quantity.SPEED,))
    builds = Builds([4.0, 2.0, 2.0], 3 * [1000.0], seed=7, disturbed=True)
    found = builds.search(settings)
    assert found.outcome is Outcome.NOT_COMPARABLE
    assert "other load" in str(found.ends[0].reason)


def test_a_wrong_classification_is_found_by_the_confirmation() -> None:
    """Swap the measurements of the first step, so that the search begins on the wrong side."""
    swapped = []

    def swap(batch: Batch) -> Batch:
        request = batch.request
        if request.stage is not Stage.STEP or swapped:
            return batch
        swapped.append(request)
        others = dict(zip(batch.results, reversed(batch.results.values()), strict=True))
        return Batch(request=request, results=others)

    builds = Builds(_slower_from(2, 0.8), 9 * [1000.0], seed=8)
    found = builds.search(keep=swap)
    assert swapped[0].after == 4
    assert (found.outcome, found.before, found.after) != (Outcome.FOUND, 4, 5)
    if found.outcome is Outcome.FOUND:
        assert found.after == 2
