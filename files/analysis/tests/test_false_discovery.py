"""Tests of the control of the false discovery rate."""

import pytest
from ffrtmp_analysis.statistics.false_discovery import find_discoveries

# The fifteen p-values of the example of Benjamini and Hochberg (1995), of which the procedure
# selects the four smallest at 5 %, and Bonferroni's three.
_P_VALUES = [
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
    *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
]


def test_the_published_example_selects_four() -> None:
    found = find_discoveries(list(reversed(_P_VALUES)))
    assert found.is_selected == (False,) * 11 + (True,) * 4
    assert found.level == pytest.approx(0.05 * 4 / 15)


def test_a_larger_p_value_can_select_smaller_ones() -> None:
    assert find_discoveries([0.03, 0.04, 0.045]).is_selected == (True, True, True)
    assert find_discoveries([0.03, 0.04, 0.055]).is_selected == (False, False, False)


def test_nothing_is_selected_from_nothing() -> None:
    assert find_discoveries([]) == ((), 0.05)
