"""Tests of the interval of a median."""

import pytest
from ffrtmp_analysis.statistics.median import estimate_median


@pytest.mark.parametrize("n", range(6))
def test_fewer_than_six_values_have_no_interval(n: int) -> None:
    assert estimate_median([1.0] * n) is None


# The ranks of 95 % intervals in Conover's table A3 and their coverage.
@pytest.mark.parametrize(
    ("n", "rank", "coverage"),
    [(6, 1, 0.96875), (8, 1, 0.992188), (9, 2, 0.960938), (15, 4, 0.964844), (30, 10, 0.957226)],
)
def test_the_interval_has_the_published_ranks(n: int, rank: int, coverage: float) -> None:
    estimate = estimate_median([float(value) for value in range(n, 0, -1)])
    assert estimate is not None
    assert (estimate.low, estimate.high) == (rank, n + 1 - rank)
    assert estimate.coverage == pytest.approx(coverage, abs=1e-6)
    assert estimate.median == (n + 1) / 2
    assert estimate.n == n


def test_a_lower_confidence_needs_fewer_values() -> None:
    estimate = estimate_median([3.0, 1.0, 2.0, 5.0], 0.87)
    assert estimate is not None
    assert estimate.coverage == 0.875
    assert (estimate.low, estimate.median, estimate.high) == (1.0, 2.5, 5.0)
