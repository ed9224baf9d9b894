"""Confidence intervals of medians, and the number of repeats that a target width requires.

The interval of n values extends from the k-th smallest to the k-th largest. It covers the median if
at least k and at most n - k values are below the median. The number of values below the median is a
symmetric random walk, whatever the distribution of the values is. The probability that the
intervals at several numbers of values all cover the median is therefore computed exactly, by
dynamic programming over this walk.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ffrtmp_analysis.interval_width import half_width_ratio
from ffrtmp_shared.precision import Look

CONFIDENCE = 0.95

_NORMAL = statistics.NormalDist()
_SPREAD_CONFIDENCE = 0.975
_BLOM = 0.375
"""Constant of Blom's approximation of the expected values of normal order statistics."""


@dataclass(frozen=True)
class ConfidenceInterval:
    """The median of a sample, and the bounds of its 95 % confidence interval."""

    median: float
    low: float
    high: float

    @property
    def half_width_ratio(self) -> float:
        """Half the width of the interval, divided by the median."""
        return half_width_ratio(self.low, self.high, self.median)


def interval_of_median(
    values: Sequence[float], looks: tuple[Look, ...] = ()
) -> ConfidenceInterval | None:
    """Return the confidence interval of the median of values, or None for too few values.

    The bounds of the interval are two order statistics. The method is exact for any distribution;
    see Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2.

    Args:
        values: The values.
        looks: The looks at which the values decide about further values, as planned before the
            first value. The interval and those of the looks before it cover the median together.
    """
    rank = rank_at(len(values), looks)
    if not rank:
        return None
    in_order = sorted(values)
    return ConfidenceInterval(statistics.median(values), in_order[rank - 1], in_order[-rank])


def is_precise(values: Sequence[float], target_ratio: float, looks: tuple[Look, ...]) -> bool:
    """Return whether the median was precise enough at one of the looks so far.

    Args:
        values: The values in the order in which they were measured.
        target_ratio: The requested half width of the interval, divided by the median.
        looks: The looks.
    """
    intervals = (
        interval_of_median(values[: look.n], looks) for look in looks if look.n <= len(values)
    )
    return any(
        interval is not None and interval.half_width_ratio <= target_ratio for interval in intervals
    )


def is_out_of_reach(values: Sequence[float], target_ratio: float, looks: tuple[Look, ...]) -> bool:
    """Return whether the values vary so much that no later look will be precise.

    This is so if the interval at the last look would be too wide even with the lower 97.5 %
    confidence bound of the standard deviation. The standard deviation is estimated from two order
    statistics near the quartiles, which a few outliers do not change, and their asymptotic variance
    for a normal distribution (David and Nagaraja, Order Statistics, 3rd edition, section 10.2). The
    decision ends the repeats of a scenario only at a look and never makes a median precise, so the
    joint coverage of the looks remains.

    Args:
        values: The values in the order in which they were measured.
        target_ratio: The requested half width of the interval, divided by the median.
        looks: The looks.
    """
    passed = [look for look in looks if look.n <= len(values)]
    if not passed or passed[-1] == looks[-1]:
        return False
    count = passed[-1].n
    in_order, rank = sorted(values[:count]), math.ceil(count / 3)
    tail = (rank - _BLOM) / (count + 1 - 2 * _BLOM)
    score = -_NORMAL.inv_cdf(tail)
    variance = tail * (1 - 2 * tail) / (2 * count * (_NORMAL.pdf(score) * score) ** 2)
    highest_ratio = math.exp(_NORMAL.inv_cdf(_SPREAD_CONFIDENCE) * math.sqrt(variance))
    deviation = (in_order[-rank] - in_order[rank - 1]) / (2 * score) / highest_ratio
    last = looks[-1]
    half_width = -_NORMAL.inv_cdf((last.rank - _BLOM) / (last.n + 1 - 2 * _BLOM)) * deviation
    median = statistics.median(values[:count])
    return half_width_ratio(median - half_width, median + half_width, median) > target_ratio


def repeats_needed(
    values: Sequence[float], target_ratio: float, looks: tuple[Look, ...], *, most: int
) -> int:
    """Return the number of further repeats until the next look.

    Args:
        values: The values of the repeats so far, in the order in which they were measured.
        target_ratio: The requested half width of the interval, divided by the median.
        looks: The looks. If there are none, because the maximum number of repeats is too low for a
            confidence interval, all repeats are needed.
        most: The maximum number of repeats to return.

    Returns:
        The number of repeats; 0 if the median is precise enough, the requested precision is out of
        reach, or there is no further look.
    """
    if not looks:
        return max(most, 0)
    if is_precise(values, target_ratio, looks) or is_out_of_reach(values, target_ratio, looks):
        return 0
    following = (look.n - len(values) for look in looks if look.n > len(values))
    return max(min(next(following, 0), most), 0)


def choose_ranks(counts: Sequence[int]) -> tuple[Look, ...]:
    """Return the looks at given numbers of values, with a joint coverage of at least CONFIDENCE.

    The ranks are the highest that have a common coverage of each single interval. Then the rank of
    each look is raised, the last look first, as far as the joint coverage permits.

    Args:
        counts: The numbers of values, in ascending order.

    Returns:
        The looks. Those that can have no interval are left out.
    """
    levels = sorted(
        {level for count in counts for level in _single_coverages(count) if level >= CONFIDENCE}
    )
    low, high = 0, len(levels)
    # The joint coverage increases with the coverage of the single intervals.
    while low < high:
        middle = (low + high) // 2
        if coverage(_with_level(counts, levels[middle])) >= CONFIDENCE:
            high = middle
        else:
            low = middle + 1
    if low == len(levels):
        return ()
    ranks = {look.n: look.rank for look in _with_level(counts, levels[low])}
    for count in reversed(counts):
        while coverage(_looks(ranks | {count: ranks.get(count, 0) + 1})) >= CONFIDENCE:
            ranks[count] = ranks.get(count, 0) + 1
    return _looks(ranks)


@lru_cache(maxsize=1024)
def rank_at(count: int, looks: tuple[Look, ...]) -> int:
    """Return the rank of the interval of `count` values, or 0 if there is no interval.

    Between two looks, the interval is only reported. Its rank is so low that it and the intervals
    of the looks before it cover the median with a probability of at least CONFIDENCE.
    """
    passed = tuple(look for look in looks if look.n <= count)
    if passed and passed[-1].n == count:
        return passed[-1].rank
    rank = sum(level >= CONFIDENCE for level in _single_coverages(count))
    while rank and coverage((*passed, Look(n=count, rank=rank))) < CONFIDENCE:
        rank -= 1
    return rank


def coverage(looks: Sequence[Look]) -> float:
    """Return the probability that the intervals of all looks cover the median.

    Args:
        looks: The looks, in ascending order of the number of values.
    """
    # The probability that all intervals so far cover the median and that `first` + i values are
    # below it, for each i.
    first, probabilities, count = 0, [1.0], 0
    for look in looks:
        for _ in range(look.n - count):
            halves = [probability / 2 for probability in probabilities]
            probabilities = [a + b for a, b in zip([*halves, 0.0], [0.0, *halves], strict=True)]
        count = look.n
        skipped = max(look.rank - first, 0)
        probabilities = probabilities[skipped : max(count - look.rank - first + 1, skipped)]
        first += skipped
    return sum(probabilities)


def _with_level(counts: Sequence[int], level: float) -> tuple[Look, ...]:
    """Return the looks whose single intervals have at least a given coverage."""
    return _looks(
        {count: sum(single >= level for single in _single_coverages(count)) for count in counts}
    )


@lru_cache(maxsize=256)
def _single_coverages(count: int) -> tuple[float, ...]:
    """Return the coverage of the interval of `count` values for each rank, from rank 1."""
    below, coverages = 0, []
    for rank in range(1, count // 2 + 1):
        below += math.comb(count, rank - 1)
        coverages.append(1 - 2 * below / 2**count)
    return tuple(coverages)


def _looks(ranks: dict[int, int]) -> tuple[Look, ...]:
    return tuple(Look(n=count, rank=rank) for count, rank in sorted(ranks.items()) if rank)
