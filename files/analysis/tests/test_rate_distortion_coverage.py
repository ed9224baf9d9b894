"""Seeded simulations of how often the intervals of differences contain the true difference."""

import math
from collections.abc import Callable
from random import Random

import pytest
from ffrtmp_analysis.rate_distortion.contents import mean_over_contents
from ffrtmp_analysis.rate_distortion.curve import Curve, RatePoint
from ffrtmp_analysis.rate_distortion.difference import CurveDifference, cost_difference

Noise = Callable[[Random, float], float]
"""A function that returns one deviation of the logarithm of a cost of the given size."""

Points = tuple[tuple[float, float], ...]

REFERENCE: Points = ((2.15, 73.07), (2.56, 82.78), (2.95, 89.47), (3.56, 93.5))
TESTED: Points = ((2.39, 79.34), (2.53, 85.11), (2.68, 88.73), (2.73, 91.45))
"""CPU times in seconds and qualities of two encoders, of which the noise-free values are these."""


def _two_states(random: Random, size: float) -> float:
    return random.gauss(0, size / 4) + random.choice((0, 2.5 * size))


def _outliers(random: Random, size: float) -> float:
    slow = random.uniform(math.log(1.2), math.log(1.6)) if random.random() < 0.08 else 0
    return random.gauss(0, size / 3) + slow


NOISES: dict[str, Noise] = {
    "normal": lambda random, size: random.gauss(0, size),
    "skewed": lambda random, size: math.log1p(random.expovariate(1 / size)),
    "outliers": _outliers,
    "two states": _two_states,
}


def _coverage_by_repeats(
    noise: Noise, repeats: int, runs: int, ratio: float = 1.0, quality: float = 0.0
) -> float:
    """Return how often the interval by repeats contains the truth.

    `ratio` is the noise of the tested encoder, relative to that of the reference, and `quality` the
    standard deviation of the quality.
    """
    random = Random(f"{repeats} {ratio} {quality}")  # noqa: S311 - a seeded simulation

    def curve(points: Points, repeats: int, size: float) -> Curve:
        """Return a curve with noise, or without if `size` is 0."""
        deviation = quality if size else 0
        return Curve(
            "",
            tuple(
                RatePoint(
                    str(vmaf),
                    tuple(cost * math.exp(size and noise(random, size)) for _ in range(repeats)),
                    tuple(vmaf + random.gauss(0, deviation) for _ in range(repeats)),
                )
                for cost, vmaf in points
            ),
        )

    def difference(repeats: int, size: float) -> CurveDifference:
        return cost_difference(
            curve(REFERENCE, repeats, size), curve(TESTED, repeats, size * ratio)
        )

    truth = difference(1, 0).value
    assert truth is not None
    hits = 0
    for _ in range(runs):
        found = difference(repeats, 0.03).repeats
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    return hits / runs


def _coverage_by_contents(contents: int, shape: float, runs: int) -> float:
    """Return how often the interval over contents contains the truth, which is 30 % less.

    The deviations of the contents are gamma distributed; a greater `shape` is less skewed.
    """
    random = Random(f"{contents} {shape}")  # noqa: S311 - a seeded simulation
    hits = 0
    truth = math.log(0.7)
    for _ in range(runs):
        logs = [truth + 0.05 * (random.gammavariate(shape, 1) - shape) for _ in range(contents)]
        found = mean_over_contents(
            {str(at): CurveDifference(True, value=math.expm1(log)) for at, log in enumerate(logs)}
        )
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= math.expm1(truth) <= found.high
    return hits / runs


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [3, 6])
def test_the_interval_by_repeats_covers_the_truth(repeats: int) -> None:
    assert 0.93 <= _coverage_by_repeats(NOISES["normal"], repeats, 1000) <= 0.97


def test_the_interval_over_contents_covers_the_truth() -> None:
    assert 0.93 <= _coverage_by_contents(5, 8, 1000) <= 0.97


@pytest.mark.deep
@pytest.mark.parametrize("repeats", [3, 5, 8, 12])
@pytest.mark.parametrize("noise", NOISES)
def test_the_interval_by_repeats_covers_the_truth_with_any_noise(noise: str, repeats: int) -> None:
    assert 0.93 <= _coverage_by_repeats(NOISES[noise], repeats, 4000) <= 0.98


@pytest.mark.deep
@pytest.mark.parametrize("repeats", [3, 6, 12])
def test_encoders_with_different_noise_and_varying_quality(repeats: int) -> None:
    found = _coverage_by_repeats(NOISES["normal"], repeats, 4000, ratio=0.2, quality=0.3)
    assert 0.93 <= found <= 0.97


@pytest.mark.deep
@pytest.mark.parametrize("contents", [4, 5, 8, 12, 20])
@pytest.mark.parametrize("shape", [8, 100])
def test_the_interval_over_any_number_of_contents_covers_the_truth(
    contents: int, shape: float
) -> None:
    assert 0.93 <= _coverage_by_contents(contents, shape, 4000) <= 0.97
