"""Simulation of the coverage of intervals: how often they contain the true value.

The noise of timings is log-normal, skewed with a floor, has outliers, or changes between states.
"""

import math
import random
from collections.abc import Callable

import pytest
from ffrtmp_analysis.statistics.false_discovery import find_discoveries
from ffrtmp_analysis.statistics.mean import estimate_mean
from ffrtmp_analysis.statistics.median import estimate_median
from ffrtmp_analysis.statistics.shift import shift_of_pairs, shift_of_sets

Noise = Callable[[random.Random], float]

# The logarithms of the noise.
_NOISES: dict[str, Noise] = {
    "log-normal": lambda chance: chance.gauss(0, 0.05),
    "skewed": lambda chance: math.log(1 + chance.expovariate(1 / 0.04)),
    "outliers": lambda chance: (
        chance.gauss(0, 0.02) + (chance.uniform(0.2, 0.6) if chance.random() < 0.1 else 0)
    ),
    "two states": lambda chance: chance.gauss(0, 0.02) + (0.08 if chance.random() < 0.5 else 0),
}
_SHORT, _LONG = 400, 10_000

# The simulation of the short version has a standard error of 1.1 points, the long one 0.2.
_RUNS = [
    pytest.param(_SHORT, 0.965 - 0.04, id="short"),
    # Takes a minute.
    pytest.param(_LONG, 0.94, id="long", marks=pytest.mark.deep),
]
_TRUTH = math.log(1.03)


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - it is a simulation


@pytest.mark.parametrize(("runs", "least"), _RUNS)
@pytest.mark.parametrize("noise", _NOISES)
def test_intervals_of_sets_cover(noise: str, runs: int, least: float) -> None:
    chance, draw = _chance(1), _NOISES[noise]
    for n in (6, 8, 12):
        covered = 0
        for _ in range(runs):
            a = [draw(chance) for _ in range(n)]
            b = [_TRUTH + draw(chance) for _ in range(n)]
            low, high = shift_of_sets(a, b).interval(0.05) or (math.nan, math.nan)
            covered += low <= _TRUTH <= high
        assert least <= covered / runs <= 0.995


@pytest.mark.parametrize(("runs", "least"), _RUNS)
@pytest.mark.parametrize("noise", _NOISES)
def test_intervals_of_rounds_cover_under_drift(noise: str, runs: int, least: float) -> None:
    chance, draw = _chance(2), _NOISES[noise]
    for n in (8, 12):
        covered = 0
        for _ in range(runs):
            drifts = [chance.gauss(0, 0.05) for _ in range(n)]
            pairs = [(drift + draw(chance), _TRUTH + drift + draw(chance)) for drift in drifts]
            low, high = shift_of_pairs(pairs).interval(0.05) or (math.nan, math.nan)
            covered += low <= _TRUTH <= high
        assert least <= covered / runs <= 0.995


@pytest.mark.parametrize(("runs", "least"), _RUNS)
def test_intervals_of_medians_cover(runs: int, least: float) -> None:
    chance = _chance(3)
    median = math.log(1 + 0.04 * math.log(2))
    for n in (6, 9, 15):
        covered = 0
        for _ in range(runs):
            found = estimate_median([_NOISES["skewed"](chance) for _ in range(n)])
            assert found is not None
            covered += found.low <= median <= found.high
        assert least <= covered / runs


@pytest.mark.parametrize(("runs", "least"), _RUNS)
def test_intervals_over_clips_cover(runs: int, least: float) -> None:
    chance = _chance(4)
    for n in (4, 8, 20):
        covered = 0
        for _ in range(runs):
            found = estimate_mean([_TRUTH + chance.gauss(0, 0.1) for _ in range(n)])
            assert found is not None
            covered += found.low <= _TRUTH <= found.high
        assert least <= covered / runs


@pytest.mark.parametrize(
    ("nights", "most"), [(40, 1), pytest.param(1000, 9, id="long", marks=pytest.mark.deep)]
)
def test_a_comparison_of_equal_builds_rarely_shows_differences(nights: int, most: int) -> None:
    # More than 2 differences among 40 comparisons in fewer than 1 of 100 nights.
    chance, conspicuous = _chance(5), 0
    for _ in range(nights):
        p_values = []
        for number in range(40):
            draw = list(_NOISES.values())[number % len(_NOISES)]
            sets = [[draw(chance) for _ in range(8)] for _ in "ab"]
            p_values.append(shift_of_sets(*sets).p_value)
        conspicuous += sum(find_discoveries(p_values).is_selected) > 2
    assert conspicuous <= most
