"""Tests of the width of confidence intervals."""

import math

import pytest
from ffrtmp_analysis.interval_width import half_width_ratio


@pytest.mark.parametrize(
    ("low", "high", "median", "expected"),
    [
        (1.9, 2.1, 2.0, 0.05),
        # An interval of order statistics need not be symmetric: (2.3 - 1.9) / 2 / 2
        (1.9, 2.3, 2.0, 0.1),
        (2.0, 2.0, 2.0, 0.0),
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, math.inf),
        (0.0, 1e308, 1e-308, math.inf),
    ],
)
def test_the_ratio(low: float, high: float, median: float, expected: float) -> None:
    assert half_width_ratio(low, high, median) == pytest.approx(expected)
