"""Mean over several clips, with a t interval. Of ratios, it is the mean of their logarithms."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ffrtmp_analysis.student_t import two_sided_quantile

CLIPS_MIN = 4
"""Number of clips that an interval requires. With fewer, its width depends more on the assumption
of a normal distribution than on the clips."""


class MeanEstimate(NamedTuple):
    """The mean of `n` values, and the bounds `low` and `high` of its interval."""

    mean: float
    low: float
    high: float
    n: int


def estimate_mean(values: Sequence[float], confidence: float = 0.95) -> MeanEstimate | None:
    """Return the mean of one value per clip with its interval.

    The interval describes the differences between contents: it is that of the mean over all clips
    like these. The uncertainty of each value is part of these differences.

    Args:
        values: The value of each clip: a difference, or the logarithm of a ratio.
        confidence: The probability with which the interval covers the mean.

    Returns:
        The mean, or None for fewer than `CLIPS_MIN` clips.
    """
    n = len(values)
    if n < CLIPS_MIN:
        return None
    mean = statistics.fmean(values)
    half_width = two_sided_quantile(confidence, n - 1) * statistics.stdev(values) / n**0.5
    return MeanEstimate(mean, mean - half_width, mean + half_width, n)
