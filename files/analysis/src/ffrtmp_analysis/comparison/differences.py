"""Outcome of a comparison."""

from enum import StrEnum

import msgspec

from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_analysis.comparison.recorded_factors import Factor


class ComparisonVerdict(StrEnum):
    """A statement about the second side, relative to the first."""

    FASTER = "faster"
    SLOWER = "slower"
    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    NOT_SHOWN = "not_shown"
    NOT_COMPARABLE = "not_comparable"


REGRESSIONS = frozenset({ComparisonVerdict.SLOWER, ComparisonVerdict.WORSE})
"""The verdicts that state that the second side is worse."""


class Pairing(StrEnum):
    """The way in which the results of two sides were compared."""

    ROUNDS = "rounds"
    NONE = "none"
    EXACT = "exact"


class SideSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Results of one side of a difference.

    Attributes:
        n: The number of results with a value, without the invalid ones.
        n_degraded: The number of them that are degraded.
        n_invalid: The number of invalid results, which are not compared.
        reasons: The number of results with each reason for a verdict.
        median: The median of the values; null if there is none.
        low: The lower bound of the 95 % interval of the median; null for fewer than six values.
        high: The upper bound.
    """

    n: int
    n_degraded: int
    n_invalid: int
    reasons: dict[str, int]
    median: float | None
    low: float | None
    high: float | None


class DifferencePart(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a difference that a recorded factor accounts for.

    Attributes:
        factor: `clock` (MHz), `steal`, `throttling` or `CPU pressure` (fractions of the time),
            `threads used` (their mean number), or `mean power` (W).
        change: The part of the change; null if the factor was not recorded.
        a: The median of the factor on the first side; null if it was not recorded.
        b: The median on the second side.
    """

    factor: Factor
    change: float | None
    a: float | None
    b: float | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of a quantity between the two sides, for a scenario on a node.

    Attributes:
        node: The node. If nodes are compared, the names of both.
        source: The name of the clip.
        configuration: The rest of the scenario: encode and rate point.
        quantity: `speed`, `cpu_time` (s), `energy` (J), `bit_rate` (kbit/s), `vmaf_neg` (points) or
            `cost` (of an hour).
        verdict: `faster`, `slower`, `better`, `worse`, `same`, `not_shown` or `not_comparable`.
        is_relative: Whether `change` and the other differences are ratios minus 1, such as 0.02 for
            2 % more, and not points.
        margin: The difference that `same` allows.
        change: The estimated change from A to B; null if it is not comparable.
        low: The lower bound of the interval of the change.
        high: The upper bound.
        confidence: The confidence of the interval. It is higher than 0.95 for selected differences.
        p_value: The p-value of the test that there is no difference; null for exact comparisons.
        pairing: `rounds` if results of the same rounds were compared, `none` if not, `exact` if all
            repeats of each side are equal; null if it is not comparable.
        detectable: The smallest difference that could have been shown; null if even the largest one
            could not, or if the verdict is not `not_shown`.
        repeats_needed: The repeats of each side that would show a difference as small as `margin`;
            null if there are too many, or for other verdicts than `not_shown`.
        reason: Why the verdict is `not_comparable`; null for other verdicts.
        parts: The parts of `change` that recorded factors account for. Only differences of speed
            and energy that were shown have them.
        unexplained: The rest of `change`; null if there are no parts.
        a: The results of the first side.
        b: The results of the second side.
    """

    node: str
    source: str
    configuration: str
    quantity: Quantity
    verdict: ComparisonVerdict
    is_relative: bool
    margin: float
    change: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    p_value: float | None = None
    pairing: Pairing | None = None
    detectable: float | None = None
    repeats_needed: int | None = None
    reason: str | None = None
    parts: tuple[DifferencePart, ...] = ()
    unexplained: float | None = None
    a: SideSummary
    b: SideSummary


class MeanDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of the differences of a quantity over several clips, for a configuration on a node.

    Attributes:
        node: The node.
        configuration: The encode and the rate point.
        quantity: The quantity.
        is_relative: Whether the mean is a geometric mean of ratios, minus 1, and not one of points.
        change: The mean.
        low: The lower bound of its 95 % interval, a t interval over the clips.
        high: The upper bound.
        clips: The number of clips.
        left_out: The clips that are not comparable.
    """

    node: str
    configuration: str
    quantity: Quantity
    is_relative: bool
    change: float
    low: float
    high: float
    clips: int
    left_out: tuple[str, ...]


class ControlShift(msgspec.Struct, frozen=True, kw_only=True):
    """The change of the speed of the control encodes of a node.

    Attributes:
        node: The node.
        is_shifted: Whether the node changed between the two sides, or during one of them; null if
            there are too few control encodes to say so.
        n_a: The number of control encodes of the first side.
        n_b: The number of those of the second side.
        change: The ratio of the speeds, minus 1; null if a side has none.
        low: The lower bound of its 95 % interval; null for too few of them.
        high: The upper bound.
        reason: The reason for the statement.
    """

    node: str
    is_shifted: bool | None
    n_a: int
    n_b: int
    change: float | None
    low: float | None
    high: float | None
    reason: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of two sides.

    Attributes:
        a: The name of the first side.
        b: The name of the second side.
        controls: The control encodes of each node.
        differences: The differences, in the order of nodes, scenarios and quantities.
        means: The means over clips.
        only_in_a: The scenarios with results of only the first side, as `node: scenario`.
        only_in_b: The scenarios with results of only the second side.
    """

    a: str
    b: str
    controls: tuple[ControlShift, ...]
    differences: tuple[Difference, ...]
    means: tuple[MeanDifference, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
