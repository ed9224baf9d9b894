"""Distributions of rank statistics under the hypothesis that two sets do not differ.

They are exact: the number of outcomes with each value of a statistic is counted. The counts are
integers, so that no rounding accumulates. For sets that are so large that counting takes seconds,
the normal distribution with a continuity correction is used, which then differs from the exact one
by less than 0.001.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist

EXACT_PAIRS_MAX = 2500
"""Largest product of the sizes of two sets for which the distribution is exact: 50 and 50."""

EXACT_ROUNDS_MAX = 100
"""Largest number of pairs for which the distribution of the signed ranks is exact."""

Tail = Callable[[int], float]
"""Probability that a statistic is at most a whole number."""


def mann_whitney_tail(n_a: int, n_b: int) -> Tail:
    """Return the distribution of the Mann-Whitney statistic U.

    U is the number of pairs of a value of each set in which the value of the second set is the
    larger one. The counts are the coefficients of a Gaussian binomial (Mann and Whitney, On a Test
    of Whether one of Two Random Variables is Stochastically Larger than the Other, Ann. Math. Stat.
    18, 1947).

    Args:
        n_a: The size of the first set.
        n_b: The size of the second set.
    """
    pairs = n_a * n_b
    if pairs > EXACT_PAIRS_MAX:
        return _normal_tail(pairs / 2, math.sqrt(pairs * (n_a + n_b + 1) / 12))
    return _counted_tail(_mann_whitney_counts(min(n_a, n_b), max(n_a, n_b)))


def signed_rank_tail(n: int) -> Tail:
    """Return the distribution of Wilcoxon's statistic, the sum of the ranks of positive values.

    Args:
        n: The number of values, which are the differences of pairs.
    """
    if n > EXACT_ROUNDS_MAX:
        return _normal_tail(n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    return _counted_tail(_signed_rank_counts(n))


@lru_cache(maxsize=64)
def _mann_whitney_counts(n_a: int, n_b: int) -> tuple[int, ...]:
    """Return the cumulative numbers of arrangements with U up to 0, 1, and so on."""
    size = n_a * n_b + 1
    counts = [1] + [0] * (size - 1)
    for step in range(1, n_a + 1):
        # Multiply by 1 - x ** (n_b + step), and divide by 1 - x ** step.
        factor = n_b + step
        for power in range(size - 1, factor - 1, -1):
            counts[power] -= counts[power - factor]
        for power in range(step, size):
            counts[power] += counts[power - step]
    return tuple(accumulate(counts))


@lru_cache(maxsize=64)
def _signed_rank_counts(n: int) -> tuple[int, ...]:
    """Return the cumulative numbers of sets of ranks with a sum up to 0, 1, and so on."""
    size = n * (n + 1) // 2 + 1
    counts = [1] + [0] * (size - 1)
    for rank in range(1, n + 1):
        for total in range(size - 1, rank - 1, -1):
            counts[total] += counts[total - rank]
    return tuple(accumulate(counts))


def _counted_tail(cumulative: tuple[int, ...]) -> Tail:
    total = cumulative[-1]

    def tail(value: int) -> float:
        return 0.0 if value < 0 else cumulative[min(value, len(cumulative) - 1)] / total

    return tail


def _normal_tail(mean: float, deviation: float) -> Tail:
    normal = NormalDist(mean, deviation)

    def tail(value: int) -> float:
        return 0.0 if value < 0 else normal.cdf(value + 0.5)

    return tail
