"""Tests of the mean of ratios over clips."""

import pytest
from ffrtmp_analysis.statistics.mean import estimate_mean
from ffrtmp_analysis.student_t import two_sided_quantile


# The table of Student's t, such as that of Abramowitz and Stegun, 26.10.
@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 10, 2.228),
        (0.975, 30, 2.042),
        (0.995, 5, 4.032),
        (0.9, 7, 1.415),
    ],
)
def test_quantiles_are_those_of_the_table(probability: float, freedom: int, value: float) -> None:
    assert two_sided_quantile(2 * probability - 1, freedom) == pytest.approx(value, abs=5e-4)


def test_the_mean_of_four_clips_is_that_of_a_calculation_by_hand() -> None:
    # The mean is 0.15, and the standard error 0.0645497.
    found = estimate_mean([0.0, 0.1, 0.2, 0.3])
    assert found is not None
    assert found.mean == pytest.approx(0.15)
    assert found.low == pytest.approx(0.15 - 3.182446 * 0.0645497, rel=1e-5)
    assert found.high == pytest.approx(0.15 + 3.182446 * 0.0645497, rel=1e-5)
    assert found.n == 4


def test_three_clips_have_no_interval() -> None:
    assert estimate_mean([0.0, 0.1, 0.2]) is None
