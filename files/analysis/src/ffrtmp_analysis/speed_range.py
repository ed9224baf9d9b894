"""The range of speeds that is usual for a node, from the speeds of equal encodes in earlier runs.

The range is a robust prediction interval: if the node has not changed, the median of the next run
lies in it with a probability of 99.5 %. Each run counts once, because the encodes of a run share
its conditions, such as the temperature of the host and its other load, so that several of them are
not independent. It is computed from the logarithms of the speeds, because a disturbance changes a
speed by a ratio. Its center is their median, and its width is a multiple of their scale
Qn (Rousseeuw and Croux, Alternatives to the Median Absolute Deviation, J. Am. Stat. Assoc. 88,
1993). Both withstand a history of which almost half consists of outliers, such as the speeds of an
earlier disturbance. For normally distributed logarithms, the range is only a little wider than the
interval with Student's t, which a single outlier widens so much that it hides changes.
"""

import math
import statistics
from collections.abc import Sequence
from enum import IntEnum
from itertools import combinations
from typing import NamedTuple

MIN_HISTORY = 10
"""The minimum number of earlier runs. With fewer, the factor of the scale grows fast: with 8 of
them, the range is 17 % wider than with 10, and with 6 it is 63 % wider."""

MAX_HISTORY = 20
"""The maximum number of earlier runs, of which the latest count. After a lasting change, the range
moves to the new speed as soon as it is that of more than half of them."""

MIN_HALF_WIDTH = 0.02
"""The minimum half width of the range, as a difference of natural logarithms. A smaller change is
less than what a restart of a host can change, for example the placement of memory."""

# The factors of the scale with which the range contains the next median with a probability of
# 99.5 %, for each number of earlier runs: the 99.5 % quantile of |x - median| / Qn in 2,000,000
# simulated histories with a normal distribution, where Qn has no correction for small samples.
_FACTORS = {
    10: 7.15,
    11: 8.73,
    12: 6.83,
    13: 8.09,
    14: 6.64,
    15: 7.69,
    16: 6.55,
    17: 7.41,
    18: 6.46,
    19: 7.21,
    20: 6.40,
}


class Side(IntEnum):
    """The position of a speed relative to a range."""

    BELOW = -1
    INSIDE = 0
    ABOVE = 1


class SpeedRange(NamedTuple):
    """The range of usual speeds, in multiples of real time.

    `center` is the median of the `n` runs from which the range was computed.
    """

    low: float
    center: float
    high: float
    n: int

    def side_of(self, speed: float) -> Side:
        """Return whether a speed lies below, inside or above the range."""
        if speed < self.low:
            return Side.BELOW
        return Side.ABOVE if speed > self.high else Side.INSIDE


def usual_range(speeds: Sequence[float]) -> SpeedRange | None:
    """Return the range in which the next median lies with a probability of 99.5 %.

    A single encode lies in it with a probability of 99.5 % if the noise is common to the encodes of
    a run. If the noise is independent, medians vary less than encodes, and it is at least 96 %.

    Args:
        speeds: The median speed of each earlier run, the latest last, in multiples of real time.
            Speeds that are not positive are ignored.

    Returns:
        The range, or None if there are fewer than `MIN_HISTORY` speeds.
    """
    logarithms = [math.log(speed) for speed in speeds if speed > 0][-MAX_HISTORY:]
    n = len(logarithms)
    if n < MIN_HISTORY:
        return None
    center = statistics.median(logarithms)
    half_width = max(_FACTORS[n] * _qn(logarithms), MIN_HALF_WIDTH)
    return SpeedRange(
        low=math.exp(center - half_width),
        center=math.exp(center),
        high=math.exp(center + half_width),
        n=n,
    )


def confirms(previous: Side | None, side: Side | None) -> bool:
    """Return whether a speed outside the range confirms that a node has changed.

    It does if the previous speed in the same run lies outside on the same side. A run contains
    several control encodes, each of which may lie outside by chance, and real speeds have more
    outliers than a normal distribution. Two in succession are rare unless the node has changed.

    Args:
        previous: The side of the previous speed in the same run; None if there is none, or if it
            could not be judged.
        side: The side of the speed, or None if it cannot be judged.
    """
    return side in (Side.BELOW, Side.ABOVE) and side == previous


def _qn(values: Sequence[float]) -> float:
    """Return the k-th smallest distance between two values, where k is about a quarter of all."""
    h = len(values) // 2 + 1
    distances = sorted(abs(first - second) for first, second in combinations(values, 2))
    return distances[math.comb(h, 2) - 1]
