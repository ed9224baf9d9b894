"""Classification of a build: whether it has the change between the first and the last build."""

from typing import NamedTuple

from ffrtmp_analysis.comparison.scenario_difference import MeasuredShift


class SearchedChange(NamedTuple):
    """The change between the first and the last build.

    Attributes:
        shift: The change: a difference of logarithms, or of points.
        is_exact: Whether all repeats of both builds are equal.
    """

    shift: float
    is_exact: bool


def has_change(found: MeasuredShift, change: SearchedChange, level: float) -> bool | None:
    """Return whether a build has the change, compared with the first build.

    It has the change if its shift is more than half of the change, and lacks it if its shift is
    less. The builds of a change that happened in one step are therefore distinguished with as few
    repeats as possible: a shift is half of the change away from the limit in either case.

    Args:
        found: The shift of the build, relative to the first.
        change: The change.
        level: The probability of each of the two errors.

    Returns:
        The classification, or None if the measurements do not show it.
    """
    half = change.shift / 2
    if found.exact is not None:
        return (found.exact > half) == (half > 0)
    if found.shift is None:
        return None
    p_more, p_less = found.shift.p_above(half), found.shift.p_below(half)
    if half < 0:
        p_more, p_less = p_less, p_more
    if p_more <= level:
        return True
    return False if p_less <= level else None
