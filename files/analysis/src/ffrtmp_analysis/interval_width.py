"""Width of confidence intervals."""

import math


def half_width_ratio(low: float, high: float, median: float) -> float:
    """Return half the width of an interval, divided by the median.

    It is 0 if the bounds coincide, and infinite if the median is 0 or the ratio is too large for a
    number.

    Args:
        low: The lower bound of the interval, in any unit.
        high: The upper bound, in the same unit.
        median: The median, in the same unit.
    """
    width = high - low
    if width == 0:
        return 0.0
    if median == 0:
        return math.inf
    ratio = width / 2 / median
    return ratio if math.isfinite(ratio) else math.inf
