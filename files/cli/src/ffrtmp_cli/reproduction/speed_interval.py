"""Interval in which the speed of a further repeat is expected."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

import msgspec

CONFIDENCE = 0.99
MIN_REPEATS = 3
"""With two repeats, the interval is so wide that it contains any speed."""

MIN_RATIO = 0.02
"""Least half width of the interval, relative to the speed. Repeats of one run on an idle host agree
better than encodes on different days, between which updates and temperature change the speed."""

_EXACT = {2: 9.925, 3: 5.841, 4: 4.604}
"""Quantiles of Student's t distribution for few degrees of freedom, two-sided, at 99 %."""


class SpeedInterval(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of the interval, in multiples of real time."""

    low: float
    high: float


def speed_interval(speeds: Sequence[float]) -> SpeedInterval | None:
    """Return the 99 % prediction interval for one more speed, or None for fewer than three speeds.

    The logarithms of speeds are assumed to be normally distributed. The interval of a further value
    is then mean ± t · s · √(1 + 1/n), with Student's t for n - 1 degrees of freedom (ISO
    16269-8:2004).

    Args:
        speeds: The speeds of the repeats, in multiples of real time; all are above 0.
    """
    count = len(speeds)
    if count < MIN_REPEATS:
        return None
    logarithms = [math.log(speed) for speed in speeds]
    spread = stdev(logarithms) * math.sqrt(1 + 1 / count)
    half = max(_quantile(count - 1) * spread, math.log1p(MIN_RATIO))
    center = fmean(logarithms)
    return SpeedInterval(low=math.exp(center - half), high=math.exp(center + half))


def _quantile(degrees: int) -> float:
    """Return the two-sided 99 % quantile of Student's t distribution.

    For five and more degrees of freedom, the expansion of Abramowitz and Stegun 26.7.5 deviates by
    less than 1 %.
    """
    if degrees in _EXACT:
        return _EXACT[degrees]
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
