"""Confidence intervals of medians, and the number of repeats that a target width requires."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95

LEAST_FOR_INTERVAL = 6
"""The minimum number of values for a confidence interval.

With fewer values, even the interval from the lowest to the highest has less than 95 % confidence.
"""

_MEDIAN = 0.5
# The estimated number of values grows with the square of the excess of the width over the target.
# The actual growth per call is limited far below this, so that the square cannot overflow.
_MAX_EXCESS = 1e6


@dataclass(frozen=True)
class ConfidenceInterval:
    """The median of a sample, and the bounds of its 95 % confidence interval."""

    median: float
    low: float
    high: float

    @property
    def half_width_ratio(self) -> float:
        """Half the width of the interval, divided by the median.

        It is 0 if the bounds coincide, and infinite if the median is 0 or the ratio is too large
        for a number.
        """
        width = self.high - self.low
        if width == 0:
            return 0.0
        if self.median == 0:
            return math.inf
        ratio = width / 2 / self.median
        return ratio if math.isfinite(ratio) else math.inf


def interval_of_median(values: Sequence[float]) -> ConfidenceInterval | None:
    """Return the confidence interval of the median of values, or None for too few values.

    The bounds of the interval are two order statistics. The method is exact for any distribution;
    see Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2.
    """
    if len(values) < LEAST_FOR_INTERVAL:
        return None
    # SciPy is imported only here, because it uses about 90 MB of memory and is needed only for runs
    # whose suite requests a precision.
    from scipy.stats import quantile_test  # type: ignore[import-untyped]  # noqa: PLC0415

    interval = quantile_test(values, p=_MEDIAN).confidence_interval(CONFIDENCE)
    return ConfidenceInterval(
        median=statistics.median(values), low=float(interval.low), high=float(interval.high)
    )


def repeats_needed(values: Sequence[float], target_ratio: float, *, most: int) -> int:
    """Return the number of further repeats that make the median precise enough.

    The width of the interval is estimated to be inversely proportional to the square root of the
    number of values. An estimate from few values is unreliable, so the number of values grows by at
    most half per call.

    Args:
        values: The values of the repeats so far.
        target_ratio: The requested half width of the interval, divided by the median.
        most: The maximum number of repeats to return.

    Returns:
        The number of repeats; 0 if the median is precise enough.
    """
    interval = interval_of_median(values)
    if interval is None:
        return max(min(LEAST_FOR_INTERVAL - len(values), most), 0)
    if interval.half_width_ratio <= target_ratio:
        return 0
    count = len(values)
    excess = min(interval.half_width_ratio / target_ratio, _MAX_EXCESS)
    needed = math.ceil(count * excess**2)
    return max(min(needed - count, max(count // 2, 1), most), 0)
