"""Tests of the shift between two sets of values."""

import math

import pytest
from ffrtmp_analysis.statistics.equivalence import is_same_within
from ffrtmp_analysis.statistics.shift import shift_of_pairs, shift_of_rounds, shift_of_sets

# Permeability constants of the human chorioamnion at term, and at 12 to 26 weeks: Hollander, Wolfe
# and Chicken, Nonparametric Statistical Methods, 3rd edition, example 4.1.
_TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
_EARLIER = [1.15, 0.88, 0.90, 0.74, 1.21]

# Depression factors before and after a therapy: the same book, example 3.1.
_BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
_AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def test_two_sets_have_the_published_shift() -> None:
    shift = shift_of_sets(_TERM, _EARLIER)
    assert shift.estimate == pytest.approx(-0.305)
    # The statistic is 35 or more of 50 with a probability of 0.1272 in each tail.
    assert shift.p_value == pytest.approx(2 * 0.1272, abs=1e-4)
    assert (shift.n_a, shift.n_b, shift.is_paired) == (10, 5, False)


def test_pairs_have_the_published_shift() -> None:
    shift = shift_of_pairs(list(zip(_BEFORE, _AFTER, strict=True)))
    assert shift.estimate == pytest.approx(-0.46)
    assert shift.p_value == pytest.approx(2 * 0.0195, abs=1e-4)
    interval = shift.interval(0.04)
    assert interval == pytest.approx((-0.786, -0.010))
    assert shift.is_paired


def test_the_interval_excludes_zero_exactly_if_the_test_rejects_it() -> None:
    values = [0.0, 0.1, 0.3, 0.35, 0.5, 0.9, 1.0, 1.3]
    for step in range(-30, 31):
        shift = shift_of_sets(values, [value + step / 20 for value in values[:7]])
        for level in (0.01, 0.05, 0.2):
            interval = shift.interval(level)
            assert interval is not None
            assert (shift.p_value <= level) == (not interval[0] <= 0 <= interval[1])


def test_six_and_six_separate_values_have_the_smallest_p_value() -> None:
    shift = shift_of_sets([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12])
    assert shift.p_value == pytest.approx(2 / math.comb(12, 6))
    assert shift.interval(0.002) is None


def test_equal_values_are_no_difference() -> None:
    shift = shift_of_sets([1.0] * 6, [1.0] * 6)
    assert (shift.estimate, shift.p_value) == (0.0, 1.0)
    assert shift.interval(0.05) == (0.0, 0.0)


def test_rounds_are_paired_only_if_six_are_common() -> None:
    a = {number: float(number) for number in range(8)}
    paired = shift_of_rounds(a, {number: number + 0.1 for number in range(2, 10)})
    assert (paired.is_paired, paired.n_a, paired.n_b) == (True, 6, 6)
    assert paired.interval(0.05) == pytest.approx((0.1, 0.1))
    unpaired = shift_of_rounds(a, {number: number + 0.1 for number in range(3, 11)})
    assert (unpaired.is_paired, unpaired.n_a, unpaired.n_b) == (False, 8, 8)


def test_equivalence_is_an_interval_between_the_limits() -> None:
    shift = shift_of_pairs([(number, number + 0.001 * number) for number in range(1, 11)])
    interval = shift.interval(0.05)
    assert interval is not None
    assert is_same_within(shift, -0.01, 0.01)
    assert is_same_within(shift, -0.01, interval[1] + 1e-6)
    assert not is_same_within(shift, -0.01, interval[1] - 1e-6)
    assert not is_same_within(shift, interval[0] + 1e-6, 0.01)
