"""Interval of a median, from two order statistics."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class MedianEstimate(NamedTuple):
    """A median with its interval.

    Attributes:
        median: The median, in the unit of the values.
        low: The lower bound of the interval.
        high: The upper bound.
        n: The number of values.
        coverage: The probability with which the interval covers the median of the distribution. It
            is at least the requested confidence.
    """

    median: float
    low: float
    high: float
    n: int
    coverage: float


def estimate_median(values: Sequence[float], confidence: float = 0.95) -> MedianEstimate | None:
    """Return the median and its exact interval, or None for too few values.

    The interval extends from the k-th smallest to the k-th largest value, with the largest k for
    which it covers the median with at least `confidence`, whatever the distribution is (Conover,
    Practical Nonparametric Statistics, 3rd edition, section 3.2). 95 % require six values.

    Args:
        values: Independent values.
        confidence: The least probability of covering the median.
    """
    n = len(values)
    rank, missed, below = 0, 0.0, 0
    while 2 * (rank + 1) <= n:
        below += math.comb(n, rank)
        # The interval of rank + 1 misses the median if at most `rank` values are on one side.
        probability = 2 * below / 2**n
        if probability > 1 - confidence:
            break
        rank, missed = rank + 1, probability
    if rank == 0:
        return None
    in_order = sorted(values)
    return MedianEstimate(
        statistics.median(in_order), in_order[rank - 1], in_order[-rank], n, 1 - missed
    )
