"""Equivalence of two sets: the statement that their shift is small."""

from ffrtmp_analysis.statistics.shift import Shift


def is_same_within(shift: Shift, low: float, high: float, level: float = 0.05) -> bool:
    """Return whether two one-sided tests show that a shift lies between two limits.

    Each test has half of the level, so that the interval at the same level, which is reported with
    the statement, lies between the limits as well. The usual choice, the full level for each test,
    would allow an interval that extends beyond them (Schuirmann, A Comparison of the Two One-Sided
    Tests Procedure and the Power Approach, J. Pharmacokinet. Biopharm. 15, 1987).

    Args:
        shift: The shift.
        low: The lower limit, below 0.
        high: The upper limit, above 0.
        level: The level of the interval.
    """
    return max(shift.p_above(low), shift.p_below(high)) <= level / 2
