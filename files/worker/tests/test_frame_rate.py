"""Tests of the frame rate that time stamps have, for stated rates that are right or wrong."""

from fractions import Fraction

import numpy as np
import pytest
from ffrtmp_worker.ffmpeg.frame_rate import find_frame_rate

_NTSC = Fraction(30000, 1001)
_MS = Fraction(1, 1000)


def _times(rate: Fraction, frames: int, unit: Fraction) -> np.ndarray:
    """Return time stamps that a container rounds to its unit and ffprobe to microseconds."""
    units = np.round(np.arange(frames) / float(rate * unit))
    return np.round(units * float(unit), 6)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), _NTSC, Fraction(120)])
@pytest.mark.parametrize("unit", [_MS, Fraction(1, 600), Fraction(1, 90_000), Fraction(1, 12_800)])
@pytest.mark.parametrize("frames", [30, 500])
def test_a_standard_rate_is_found_without_a_statement(
    rate: Fraction, unit: Fraction, frames: int
) -> None:
    assert find_frame_rate(_times(rate, frames, unit), (), unit) == pytest.approx(rate, rel=1e-3)
    assert find_frame_rate(_times(rate, frames, unit), (rate,), unit) == rate


@pytest.mark.parametrize("stated", [Fraction(125, 8), Fraction(50), Fraction(24), Fraction(1)])
def test_a_wrong_statement_is_not_used(stated: Fraction) -> None:
    assert find_frame_rate(_times(Fraction(25), 40, _MS), (stated,), _MS) == 25


def test_a_rate_of_no_display_is_accepted() -> None:
    rate = Fraction(2398, 100)
    unit = Fraction(1, 12_800)
    assert find_frame_rate(_times(rate, 2000, unit), (rate,), unit) == rate
    assert find_frame_rate(_times(Fraction(25, 2), 40, unit), (), unit) == Fraction(25, 2)


def test_few_frames_keep_the_statement() -> None:
    assert find_frame_rate(_times(_NTSC, 2, _MS), (_NTSC,), _MS) == _NTSC
    assert find_frame_rate(np.array([0.7]), (Fraction(25),), _MS) == 25
    assert find_frame_rate(np.array([]), (), None) is None
    assert find_frame_rate(np.array([1.0, 1.0]), (), None) is None
