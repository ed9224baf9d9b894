"""Tests of the repeats that a comparison needs."""

import math

import pytest
from ffrtmp_analysis.statistics.detectability import repeats_for_interval, repeats_for_width


# The least number of repeats for one difference among several comparisons: 2 / C(2n, n) and
# 2 / 2 ** n must be at most 0.05 / comparisons.
@pytest.mark.parametrize(
    ("comparisons", "unpaired", "paired"), [(1, 4, 6), (6, 5, 8), (23, 6, 10), (85, 7, 12)]
)
def test_more_comparisons_need_more_repeats(comparisons: int, unpaired: int, paired: int) -> None:
    level = 0.05 / comparisons
    assert repeats_for_interval(level, is_paired=False) == unpaired
    assert repeats_for_interval(level, is_paired=True) == paired


def test_half_the_width_needs_four_times_the_repeats() -> None:
    assert repeats_for_width(6, 0.04, 0.02, least=6) == 24
    assert repeats_for_width(6, 0.001, 0.02, least=7) == 7


def test_a_width_out_of_reach_has_no_number() -> None:
    assert repeats_for_width(6, math.inf, 0.02, least=6) is None
    assert repeats_for_width(6, 10.0, 0.001, least=6) is None
