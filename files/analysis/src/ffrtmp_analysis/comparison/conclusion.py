"""Conclusion of a comparison, for programs that must decide."""

from enum import StrEnum

from ffrtmp_analysis.comparison.differences import REGRESSIONS, Comparison, ComparisonVerdict
from ffrtmp_analysis.comparison.quantities import RULES


class Conclusion(StrEnum):
    """Decision on whether the second side is worse than the first."""

    REGRESSION = "regression"
    """The second side is worse in at least one scenario and quantity."""
    UNDECIDED = "undecided"
    """Nothing is shown to be worse, but something could not be compared, or the node changed."""
    NO_REGRESSION = "no_regression"
    """Everything was compared, and nothing is shown to be worse."""


def conclude(comparison: Comparison) -> Conclusion:
    """Return the conclusion of a comparison.

    A shift of the control encodes makes differences of speed a statement about the node. Then only
    differences of quantities that do not depend on it are regressions.
    """
    shifted = {shift.node for shift in comparison.controls if shift.is_shifted}
    is_undecided = bool(shifted) or not comparison.differences or bool(comparison.only_in_a)
    for found in comparison.differences:
        if found.verdict is ComparisonVerdict.NOT_COMPARABLE:
            is_undecided = True
        is_of_node = found.node in shifted and RULES[found.quantity].is_of_host
        if found.verdict in REGRESSIONS and not is_of_node:
            return Conclusion.REGRESSION
    return Conclusion.UNDECIDED if is_undecided else Conclusion.NO_REGRESSION
