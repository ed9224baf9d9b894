"""Difference of a quantity between the results of a scenario of two sides.

It is computed in two steps, because verdicts depend on the other scenarios: first the measured
shift of each scenario, and then, when the tests of all scenarios are known, the verdict.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from ffrtmp_shared.verdict import VerdictState

from ffrtmp_analysis.comparison.attribution import ATTRIBUTED, attribute_change
from ffrtmp_analysis.comparison.comparability import few_repeats_text, find_obstacle, measured
from ffrtmp_analysis.comparison.compared_results import Repeat, ScenarioResults
from ffrtmp_analysis.comparison.differences import (
    ComparisonVerdict,
    Difference,
    Pairing,
    SideSummary,
)
from ffrtmp_analysis.comparison.quantities import RULES, Quantity
from ffrtmp_analysis.statistics.detectability import repeats_for_interval, repeats_for_width
from ffrtmp_analysis.statistics.equivalence import is_same_within
from ffrtmp_analysis.statistics.median import estimate_median
from ffrtmp_analysis.statistics.shift import Shift, shift_of_rounds

_DIGITS = 12
"""Significant digits up to which deterministic values are equal."""


@dataclass(frozen=True)
class Family:
    """The tests of the same quantity in a comparison.

    Attributes:
        rate: The false discovery rate.
        tests: The number of tests.
        level: The level of the intervals of selected differences.
    """

    rate: float
    tests: int
    level: float


@dataclass(frozen=True)
class MeasuredShift:
    """The measured shift of a quantity between two sides, or why there is none.

    Exactly one of `shift`, `exact` and `obstacle` is not None. Shifts of relative quantities are
    those of natural logarithms.
    """

    a: ScenarioResults
    b: ScenarioResults
    quantity: Quantity
    shift: Shift | None = None
    exact: float | None = None
    obstacle: str | None = None


def measure_shift(
    a: ScenarioResults, b: ScenarioResults, names: tuple[str, str], quantity: Quantity, rate: float
) -> MeasuredShift | None:
    """Return the shift of a quantity, or None if neither side has a value of it.

    Args:
        a: The results of the first side.
        b: The results of the second side.
        names: The names of the sides.
        quantity: The quantity.
        rate: The false discovery rate, which is also the level of intervals.
    """
    repeats = measured(a, quantity), measured(b, quantity)
    if not any(repeats):
        return None
    obstacle = find_obstacle(a, b, names, quantity)
    if obstacle is not None:
        return MeasuredShift(a, b, quantity, obstacle=obstacle)
    rule = RULES[quantity]
    if rule.is_repeatable and all(_is_deterministic(side, quantity) for side in (a, b)):
        before, after = (_scaled(side[0], quantity) for side in repeats)
        return MeasuredShift(a, b, quantity, exact=round(after - before, _DIGITS))
    shift = shift_of_rounds(*(_by_round(side, quantity) for side in repeats))
    if shift.interval(rate) is None:
        text = few_repeats_text(shift.n_a, shift.n_b, rate, is_paired=shift.is_paired)
        return MeasuredShift(a, b, quantity, obstacle=text)
    return MeasuredShift(a, b, quantity, shift=shift)


def judge_difference(
    found: MeasuredShift, margin: float, family: Family, *, is_selected: bool
) -> Difference:
    """Return the difference of two sides with its verdict.

    Args:
        found: The measured shift.
        margin: The difference that `same` allows: relative, or in points.
        family: The tests of the same quantity.
        is_selected: Whether the test of this difference was selected.
    """
    rule = RULES[found.quantity]
    base = Difference(
        node=found.a.node,
        source=found.a.source,
        configuration=found.a.configuration,
        quantity=found.quantity,
        verdict=ComparisonVerdict.NOT_COMPARABLE,
        is_relative=rule.is_relative,
        margin=margin,
        reason=found.obstacle,
        a=_summary(found.a, found.quantity),
        b=_summary(found.b, found.quantity),
    )
    if found.exact is not None:
        return _exact_difference(base, found.exact)
    if found.shift is None:
        return base
    return _with_parts(_estimated(base, found.shift, family, is_selected), found)


def _exact_difference(base: Difference, exact: float) -> Difference:
    """Return the difference of two sides whose repeats are equal, which needs no interval."""
    is_same = abs(exact) <= _scaled_margin(base)
    change = _change(base, exact)
    return msgspec.structs.replace(
        base,
        verdict=ComparisonVerdict.SAME if is_same else _direction(base.quantity, exact),
        change=change,
        low=change,
        high=change,
        confidence=1.0,
        pairing=Pairing.EXACT,
    )


def _estimated(base: Difference, shift: Shift, family: Family, is_selected: bool) -> Difference:
    level = family.level if is_selected else family.rate
    interval = shift.interval(level)
    # A selected test has a p-value of at most the level, at which an interval therefore exists.
    assert interval is not None  # noqa: S101
    margin = _scaled_margin(base)
    low, high = interval
    shown = msgspec.structs.replace(
        base,
        change=_change(base, shift.estimate),
        low=_change(base, low),
        high=_change(base, high),
        confidence=1 - level,
        p_value=shift.p_value,
        pairing=Pairing.ROUNDS if shift.is_paired else Pairing.NONE,
    )
    if is_same_within(shift, -margin, margin, level):
        return msgspec.structs.replace(shown, verdict=ComparisonVerdict.SAME)
    if is_selected:
        verdict = _direction(base.quantity, shift.estimate)
        return msgspec.structs.replace(shown, verdict=verdict)
    half_width = (high - low) / 2
    strictest = family.rate / family.tests
    least = repeats_for_interval(strictest, is_paired=shift.is_paired)
    n = min(shift.n_a, shift.n_b)
    return msgspec.structs.replace(
        shown,
        verdict=ComparisonVerdict.NOT_SHOWN,
        detectable=None if n < least else _change(base, half_width),
        repeats_needed=repeats_for_width(n, half_width, margin, least=least),
    )


def _with_parts(shown: Difference, found: MeasuredShift) -> Difference:
    """Return a difference with its attribution, if it is one of speed or energy and shown."""
    rule = RULES[found.quantity]
    is_shown = shown.verdict in (rule.better, rule.worse)
    if found.quantity not in ATTRIBUTED or not is_shown or not shown.change:
        return shown
    parts, unexplained = attribute_change(
        measured(found.a, found.quantity),
        measured(found.b, found.quantity),
        found.quantity,
        shown.change,
    )
    return msgspec.structs.replace(shown, parts=parts, unexplained=unexplained)


def _direction(quantity: Quantity, shift: float) -> ComparisonVerdict:
    rule = RULES[quantity]
    return ComparisonVerdict(rule.better if (shift > 0) == rule.is_high_better else rule.worse)


def _scaled(repeat: Repeat, quantity: Quantity) -> float:
    value = repeat.values[quantity]
    return math.log(value) if RULES[quantity].is_relative else value


def _scaled_margin(base: Difference) -> float:
    return math.log1p(base.margin) if base.is_relative else base.margin


def _change(base: Difference, shift: float) -> float:
    return math.expm1(shift) if base.is_relative else shift


def _by_round(repeats: Sequence[Repeat], quantity: Quantity) -> dict[tuple[str, int], float]:
    """Return the values by their round and their number within it, which is usually 0."""
    seen: Counter[str] = Counter()
    values = {}
    for repeat in repeats:
        values[repeat.round, seen[repeat.round]] = _scaled(repeat, quantity)
        seen[repeat.round] += 1
    return values


def _is_deterministic(results: ScenarioResults, quantity: Quantity) -> bool:
    """Return whether several repeats show that the encoder always produces the same.

    A single value is sufficient if several outputs are known to be identical.
    """
    repeats = measured(results, quantity)
    if len({repeat.values[quantity] for repeat in repeats}) > 1:
        return False
    digests = [repeat.digest for repeat in results.repeats if repeat.digest is not None]
    return len(repeats) > 1 or (len(digests) > 1 and len(set(digests)) == 1)


def _summary(results: ScenarioResults, quantity: Quantity) -> SideSummary:
    repeats = measured(results, quantity)
    values = [repeat.values[quantity] for repeat in repeats]
    interval = estimate_median(values)
    invalid = [item for item in results.repeats if item.state is VerdictState.INVALID]
    return SideSummary(
        n=len(values),
        n_degraded=sum(repeat.state is VerdictState.DEGRADED for repeat in repeats),
        n_invalid=len(invalid),
        reasons=dict(
            sorted(Counter(r for item in [*repeats, *invalid] for r in item.reasons).items())
        ),
        median=statistics.median(values) if values else None,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
    )
