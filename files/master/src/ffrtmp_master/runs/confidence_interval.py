"""How well the median of a scenario's repeats is known, and how many more are worth it."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95

LEAST_FOR_INTERVAL = 6
"""With fewer values even the lowest and the highest hold the median less often than in 95 %."""

_MEDIAN = 0.5


@dataclass(frozen=True)
class ConfidenceInterval:
    """The median of some values, and the two of them that it lies between with 95 % confidence."""

    median: float
    low: float
    high: float

    @property
    def half_width_ratio(self) -> float:
        """Half of the interval's width, as a part of the median."""
        return (self.high - self.low) / 2 / self.median


def interval_of_median(values: Sequence[float]) -> ConfidenceInterval | None:
    """Return the interval of the median of positive values, or None where they are too few.

    It is exact for values of any distribution, and lies between two order statistics: Conover,
    Practical Nonparametric Statistics, 3rd edition, section 3.2.
    """
    if len(values) < LEAST_FOR_INTERVAL:
        return None
    # Some 90 MB that a master needs only for runs that ask for it.
    from scipy.stats import quantile_test  # type: ignore[import-untyped]  # noqa: PLC0415

    found = quantile_test(values, p=_MEDIAN).confidence_interval(CONFIDENCE)
    return ConfidenceInterval(
        median=statistics.median(values), low=float(found.low), high=float(found.high)
    )


def repeats_needed(values: Sequence[float], target_ratio: float, *, most: int) -> int:
    """Return how many more repeats to make, at most `most`; 0 when the median is known.

    `values` are those of the repeats so far, `target_ratio` the half width that is asked for. An
    interval gets narrower with the square root of the number; but what the first few say of that
    is little, so the number grows by half at once and no more.
    """
    interval = interval_of_median(values)
    if interval is None:
        return max(min(LEAST_FOR_INTERVAL - len(values), most), 0)
    if interval.half_width_ratio <= target_ratio:
        return 0
    n = len(values)
    needed = math.ceil(n * (interval.half_width_ratio / target_ratio) ** 2)
    return max(min(needed - n, max(n // 2, 1), most), 0)
