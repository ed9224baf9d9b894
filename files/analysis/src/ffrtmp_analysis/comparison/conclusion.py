"""Conclusion of a comparison, for programs that must decide."""

from enum import StrEnum

from ffrtmp_analysis.comparison.differences import (
    REGRESSIONS,
    Comparison,
    ComparisonVerdict,
    Difference,
)
from ffrtmp_analysis.comparison.quantities import RULES


class Conclusion(StrEnum):
    """Decision on whether the second side is worse than the first."""

    REGRESSION = "regression"
    """The second side is worse by more than the margin in at least one scenario and quantity."""
    UNDECIDED = "undecided"
    """There is no regression, but something could not be compared, or the node changed."""
    NO_REGRESSION = "no_regression"
    """Everything was compared, and nothing is shown to be worse by more than the margin."""


def conclude(comparison: Comparison) -> Conclusion:
    """Return the conclusion of a comparison.

    A shift of the control encodes makes differences of speed a statement about the node. Then only
    differences of quantities that do not depend on it are regressions.
    """
    if regressions(comparison):
        return Conclusion.REGRESSION
    is_undecided = (
        not comparison.differences
        or bool(comparison.only_in_a)
        or any(shift.is_shifted for shift in comparison.controls)
        or any(
            found.verdict is ComparisonVerdict.NOT_COMPARABLE for found in comparison.differences
        )
    )
    return Conclusion.UNDECIDED if is_undecided else Conclusion.NO_REGRESSION


def regressions(comparison: Comparison) -> tuple[Difference, ...]:
    """Return the differences by which the second side is worse by more than the margin.

    The whole interval lies beyond the margin. Otherwise, of 20 comparisons of equal sides, one
    would be expected to fail for each quantity.
    """
    shifted = {shift.node for shift in comparison.controls if shift.is_shifted}
    return tuple(
        found
        for found in comparison.differences
        if found.verdict in REGRESSIONS
        and not (found.node in shifted and RULES[found.quantity].is_of_host)
        and _is_beyond_margin(found)
    )


def _is_beyond_margin(found: Difference) -> bool:
    if found.low is None or found.high is None:
        return False
    lower = -found.margin / (1 + found.margin) if found.is_relative else -found.margin
    return found.low > found.margin or found.high < lower
