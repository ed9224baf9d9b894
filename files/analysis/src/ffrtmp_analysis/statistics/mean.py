"""Mean over several clips, with a t interval. Of ratios, it is the mean of their logarithms."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

CLIPS_MIN = 4
"""Number of clips that an interval requires. With fewer, its width depends more on the assumption
of a normal distribution than on the clips."""

_BISECTIONS = 200


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
    half_width = t_quantile((1 + confidence) / 2, n - 1) * statistics.stdev(values) / n**0.5
    return MeanEstimate(mean, mean - half_width, mean + half_width, n)


def t_probability(value: float, freedom: int) -> float:
    """Return the probability that Student's t is at most a value.

    For a whole number of degrees of freedom, it is a finite sum (Abramowitz and Stegun, Handbook of
    Mathematical Functions, 26.7.3 and 26.7.4).

    Args:
        value: The value.
        freedom: The degrees of freedom, at least 1.
    """
    angle = math.atan(value / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    if freedom % 2:
        total, term = (0.0, cosine) if freedom > 1 else (0.0, 0.0)
        for number in range(1, freedom - 1, 2):
            total += term
            term *= cosine**2 * (number + 1) / (number + 2)
        inner = 2 / math.pi * (angle + sine * total)
    else:
        total, term = 0.0, 1.0
        for number in range(0, freedom - 1, 2):
            total += term
            term *= cosine**2 * (number + 1) / (number + 2)
        inner = sine * total
    return (1 + inner) / 2


def t_quantile(probability: float, freedom: int) -> float:
    """Return the value below which Student's t lies with a probability.

    Args:
        probability: The probability, between 0.5 and 1.
        freedom: The degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < probability:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if t_probability(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return high
