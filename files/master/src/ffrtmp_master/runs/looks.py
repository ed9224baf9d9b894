"""Looks: the numbers of repeats at which a median may count as precise, and their exact coverage.

Repeats end at the first look at which the confidence interval is narrow enough. An interval that
covers the median with 95 % at each look alone would be wrong more often than 5 %, because the
repeats tend to end when the interval happens to be narrow. The intervals are therefore so wide
that those of all looks together cover the median with at least 95 %.

The interval of n values extends from the k-th smallest to the k-th largest. It covers the median if
at least k and at most n - k values are below the median. The number of values below the median is a
symmetric random walk, whatever the distribution of the values is. The probability that all
intervals cover the median is therefore computed exactly, by dynamic programming over this walk.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, comb

from ffrtmp_shared.precision import Look
from ffrtmp_shared.suite import Suite

from ffrtmp_master.runs.suite_outline import SuiteOutline

CONFIDENCE = 0.95

_FIRST = 8
_GROWTH = 1.5
# The last look is at the maximum number of repeats. It replaces a look that would be close to it.
_CLOSE = 1.2


def looks_of(suite: Suite | SuiteOutline) -> tuple[Look, ...]:
    """Return the looks of each scenario of a suite; none if it requests no precision."""
    if suite.precision is None:
        return ()
    return plan_looks(suite.repeats, suite.precision.max_repeats)


@lru_cache(maxsize=256)
def plan_looks(repeats: int, max_repeats: int) -> tuple[Look, ...]:
    """Return the looks of a scenario, which are fixed before its first repeat.

    Args:
        repeats: The number of repeats that are queued first.
        max_repeats: The maximum number of repeats.

    Returns:
        The looks. There are none if `max_repeats` is too low for a confidence interval.
    """
    counts, count = [], max(_FIRST, repeats)
    while count * _CLOSE <= max_repeats:
        counts.append(count)
        count = ceil(count * _GROWTH)
    return choose_ranks((*counts, max_repeats))


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
        below += comb(count, rank - 1)
        coverages.append(1 - 2 * below / 2**count)
    return tuple(coverages)


def _looks(ranks: dict[int, int]) -> tuple[Look, ...]:
    return tuple(Look(n=count, rank=rank) for count, rank in sorted(ranks.items()) if rank)
