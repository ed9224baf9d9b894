"""Confidence intervals of medians, and the number of repeats that a target width requires."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ffrtmp_analysis.interval_width import half_width_ratio
from ffrtmp_shared.precision import Look

from ffrtmp_master.runs.looks import rank_at


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
        The number of repeats; 0 if the median is precise enough or there is no further look.
    """
    if not looks:
        return max(most, 0)
    if is_precise(values, target_ratio, looks):
        return 0
    following = (look.n - len(values) for look in looks if look.n > len(values))
    return max(min(next(following, 0), most), 0)
