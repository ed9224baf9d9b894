"""Differences that a comparison can show, and the repeats that it needs."""

import math

from ffrtmp_analysis.statistics.rank_distribution import mann_whitney_tail, signed_rank_tail

REPEATS_MAX = 100_000
"""Largest number of repeats that is stated. More of them are out of reach of every run."""


def repeats_for_interval(level: float, *, is_paired: bool) -> int:
    """Return the least number of repeats of each side at which an interval exists.

    Args:
        level: The probability with which the interval may miss the shift, above 0.
        is_paired: Whether the repeats are compared by round.
    """
    n = 1
    while 2 * (signed_rank_tail(n) if is_paired else mann_whitney_tail(n, n))(0) > level:
        n += 1
    return n


def repeats_for_width(n: int, half_width: float, wanted: float, *, least: int) -> int | None:
    """Return the number of repeats of each side at which an interval is as narrow as wanted.

    The width of intervals is inversely proportional to the square root of the number of repeats, so
    that the number is an estimate.

    Args:
        n: The number of repeats of each side so far.
        half_width: Half the width of the interval so far, as a difference of logarithms or of
            values.
        wanted: The wanted half width, above 0, in the same unit.
        least: The least number at which an interval exists.

    Returns:
        The number, or None if it is greater than `REPEATS_MAX`.
    """
    needed = math.ceil(n * (half_width / wanted) ** 2) if math.isfinite(half_width) else math.inf
    return None if needed > REPEATS_MAX else max(int(needed), least)
