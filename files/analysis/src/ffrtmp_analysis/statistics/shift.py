"""Shift between two sets of values, with its exact interval and test.

The estimate is that of Hodges and Lehmann: the median of the differences of all pairs, or of the
Walsh averages if the values were measured in common rounds. Interval and test are those of the
Mann-Whitney and the signed-rank statistic (Hollander, Wolfe and Chicken, Nonparametric Statistical
Methods, 3rd edition, sections 3.3 and 4.3). The interval excludes 0 exactly if the test rejects 0.

The ratio of two sets is the exponential of the shift of their logarithms.
"""

import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import TypeVar

from ffrtmp_analysis.statistics.rank_distribution import (
    Tail,
    mann_whitney_tail,
    signed_rank_tail,
)

Round = TypeVar("Round", bound=Hashable)

COMMON_ROUNDS_MIN = 6
"""Number of rounds that both sides need for a paired comparison. With five, the smallest p-value is
2 * 0.5 ** 5 = 0.0625, so that no 95 % interval exists."""


@dataclass(frozen=True)
class Shift:
    """The shift from the first set of values to the second.

    Attributes:
        differences: The differences of all pairs, or the Walsh averages, in ascending order.
        tail: The distribution of their number below 0, if there is no shift.
        n_a: The number of values of the first set.
        n_b: The number of values of the second set.
        is_paired: Whether the values were compared in the rounds that both sets have.
    """

    differences: tuple[float, ...]
    tail: Tail
    n_a: int
    n_b: int
    is_paired: bool

    @cached_property
    def estimate(self) -> float:
        """The median of the differences."""
        return statistics.median(self.differences)

    def interval(self, level: float) -> tuple[float, float] | None:
        """Return the interval that misses the shift with a probability of at most `level`.

        Returns:
            The bounds, or None if there are too few values for this level.
        """
        if 2 * self.tail(0) > level:
            return None
        # The largest rank at which the interval of two order statistics has this level.
        rank, beyond = 1, len(self.differences) // 2 + 1
        while beyond - rank > 1:
            middle = (rank + beyond) // 2
            if 2 * self.tail(middle - 1) <= level:
                rank = middle
            else:
                beyond = middle
        return self.differences[rank - 1], self.differences[-rank]

    @property
    def p_value(self) -> float:
        """The p-value of the two-sided test that there is no shift."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))

    def p_above(self, limit: float) -> float:
        """Return the p-value of the one-sided test that the shift is at most `limit`.

        Differences that equal the limit count against the rejection.
        """
        return self.tail(sum(value <= limit for value in self.differences))

    def p_below(self, limit: float) -> float:
        """Return the p-value of the one-sided test that the shift is at least `limit`."""
        return self.tail(sum(value >= limit for value in self.differences))


def shift_of_sets(a: Sequence[float], b: Sequence[float]) -> Shift:
    """Return the shift from one set of independent values to another.

    Args:
        a: The values of the first set, of which there must be at least one.
        b: The values of the second set, of which there must be at least one.
    """
    differences = sorted(second - first for first in a for second in b)
    return Shift(
        tuple(differences), mann_whitney_tail(len(a), len(b)), len(a), len(b), is_paired=False
    )


def shift_of_pairs(pairs: Sequence[tuple[float, float]]) -> Shift:
    """Return the shift from the first to the second values of pairs.

    It withstands everything that shifts both values of a pair, such as the drift of a host.

    Args:
        pairs: The pairs, of which there must be at least one.
    """
    changes = [second - first for first, second in pairs]
    averages = sorted(
        (first + second) / 2 for first, second in combinations_with_replacement(changes, 2)
    )
    n = len(pairs)
    return Shift(tuple(averages), signed_rank_tail(n), n, n, is_paired=True)


def shift_of_rounds(a: Mapping[Round, float], b: Mapping[Round, float]) -> Shift:
    """Return the shift between values by round, paired if there are enough common rounds.

    Args:
        a: The values of the first set by their round.
        b: The values of the second set by their round.
    """
    common = [key for key in a if key in b]
    if len(common) >= COMMON_ROUNDS_MIN:
        return shift_of_pairs([(a[key], b[key]) for key in common])
    return shift_of_sets(list(a.values()), list(b.values()))
