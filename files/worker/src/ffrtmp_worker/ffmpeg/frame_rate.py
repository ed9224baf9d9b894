"""Frame rate of a video from the time stamps of its frames.

The header of a file can state another rate: that of the intended display, a guess from the first
frames, or a mean that includes a last frame of another duration. A stated rate is used only if the
time stamps agree with it.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

RATE_SLACK = Fraction(1, 2000)
"""Largest relative difference of two rates that are equal apart from rounding."""

STANDARD_RATES = tuple(
    Fraction(frames * 1000, divisor)
    for frames in (24, 25, 30, 48, 50, 60, 90, 100, 120, 144, 240)
    for divisor in (1000, 1001)
)
"""Rates of displays and cameras, in frames per second."""

_PRINTED_S = 3e-6
"""Largest error of the difference of two time stamps, which ffprobe rounds to microseconds."""

_MILLISECOND = Fraction(1, 1000)
"""Time base of Matroska, from which other files are often copied."""

_MAX_ROUNDING_S = 0.0021
_MAX_DENOMINATOR = 1001


def is_same_rate(first: Fraction, second: Fraction) -> bool:
    """Return whether two frame rates are equal apart from the rounding of containers.

    Matroska's time stamps are whole milliseconds, so the mean rate of a short clip is off by a few
    parts in a million. 59.94 and 60 frames per second differ by 1 part in 1,000.
    """
    return abs(first - second) <= RATE_SLACK * first


def find_frame_rate(
    times_s: NDArray[np.float64], stated: Sequence[Fraction], time_base: Fraction | None
) -> Fraction | None:
    """Return the rate of frames whose time stamps are given, in frames per second.

    Args:
        times_s: The time stamps of all frames in ascending order, in seconds.
        stated: The rates that the header states, in the order of preference.
        time_base: The unit of the time stamps in the file, in seconds, if it is known.

    Returns:
        A stated rate if the time stamps agree with it, otherwise the standard rate or the mean rate
        that they have. For fewer than two frames, the first stated rate, or None without any.
    """
    duration_s = float(times_s[-1] - times_s[0]) if len(times_s) else 0.0
    if len(times_s) < 2 or duration_s <= 0:  # noqa: PLR2004
        return next(iter(stated), None)
    mean = Fraction((len(times_s) - 1) / duration_s)
    for unit in (time_base or _MILLISECOND, _MILLISECOND):
        rounding_s = min(float(unit), _MAX_ROUNDING_S) + _PRINTED_S
        agreeing = [rate for rate in stated if _agrees(times_s, rate, rounding_s)]
        for rate in (*_standard_rates_near(agreeing), *agreeing, *_standard_rates_near([mean])):
            if _agrees(times_s, rate, rounding_s):
                return rate
    return mean.limit_denominator(_MAX_DENOMINATOR)


def _standard_rates_near(rates: Sequence[Fraction]) -> Iterator[Fraction]:
    """Yield the standard rates that equal one of the rates apart from rounding, nearest first."""
    for rate in rates:
        yield from sorted(
            (standard for standard in STANDARD_RATES if is_same_rate(standard, rate)),
            key=lambda standard: abs(standard - rate),
        )


def _agrees(times_s: NDArray[np.float64], rate: Fraction, rounding_s: float) -> bool:
    """Return whether all frames are where they would be at a rate, apart from rounding."""
    deviations = times_s - np.arange(len(times_s)) / float(rate)
    return bool(np.ptp(deviations) <= rounding_s)
