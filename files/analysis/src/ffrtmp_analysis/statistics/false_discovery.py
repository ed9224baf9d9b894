"""Control of the false discovery rate over a family of tests."""

from collections.abc import Sequence
from typing import NamedTuple


class Discoveries(NamedTuple):
    """The selected tests of a family.

    Attributes:
        is_selected: Whether each test is selected, in the order of the p-values.
        level: The level of the intervals of the selected: `rate` * selected / tests. Intervals at
            this level cover their values with an average probability of at least 1 - `rate`,
            although only the conspicuous ones were selected. It is `rate` if none is selected.
    """

    is_selected: tuple[bool, ...]
    level: float


def find_discoveries(p_values: Sequence[float], rate: float = 0.05) -> Discoveries:
    """Select tests such that the expected share of false ones among them is at most `rate`.

    The selection is that of Benjamini and Hochberg (Controlling the False Discovery Rate, J. R.
    Stat. Soc. B 57, 1995); the level of the intervals is that of Benjamini and Yekutieli (False
    Discovery Rate-Adjusted Multiple Confidence Intervals for Selected Parameters, J. Am. Stat.
    Assoc. 100, 2005).

    Args:
        p_values: The p-values of all tests of the family.
        rate: The false discovery rate.
    """
    tests = len(p_values)
    selected = 0
    for number, p_value in enumerate(sorted(p_values), start=1):
        if p_value <= rate * number / tests:
            selected = number
    if selected == 0:
        return Discoveries((False,) * tests, rate)
    level = rate * selected / tests
    return Discoveries(tuple(p_value <= level for p_value in p_values), level)
