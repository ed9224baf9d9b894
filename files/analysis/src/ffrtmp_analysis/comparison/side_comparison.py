"""Comparison of two sides."""

from collections.abc import Sequence
from typing import NamedTuple

from ffrtmp_analysis.comparison.clip_means import mean_differences
from ffrtmp_analysis.comparison.compared_results import ComparedSide, ScenarioResults
from ffrtmp_analysis.comparison.control_shift import compare_controls
from ffrtmp_analysis.comparison.differences import Comparison, Difference
from ffrtmp_analysis.comparison.quantities import RULES, Quantity
from ffrtmp_analysis.comparison.scenario_difference import (
    Family,
    MeasuredShift,
    judge_difference,
    measure_shift,
)
from ffrtmp_analysis.statistics.false_discovery import find_discoveries


class Margins(NamedTuple):
    """The differences that do not matter: `same` states that a difference is smaller.

    Attributes:
        relative: The relative difference of all quantities except the quality.
        vmaf: The difference of the quality, in points.
    """

    relative: float = 0.01
    vmaf: float = 0.5


def compare(
    a: ComparedSide,
    b: ComparedSide,
    *,
    quantities: Sequence[Quantity] = tuple(Quantity),
    margins: Margins = Margins(),  # noqa: B008 - it is immutable
    rate: float = 0.05,
) -> Comparison:
    """Compare the second side with the first.

    Each scenario of each node is compared separately. The false discovery rate is controlled over
    all scenarios of a quantity.

    Args:
        a: The first side.
        b: The second side.
        quantities: The quantities to compare. Those that neither side has are left out.
        margins: The differences that do not matter.
        rate: The false discovery rate. The confidence of intervals is 1 - `rate`.
    """
    others = {results.key: results for results in b.scenarios}
    own = {results.key for results in a.scenarios}
    pairs = [
        (results, others[results.key])
        for results in sorted(a.scenarios, key=lambda results: results.key)
        if results.key in others
    ]
    found = {
        quantity: _differences(pairs, (a.name, b.name), quantity, margins, rate)
        for quantity in quantities
    }
    differences = tuple(
        found[quantity][key]
        for key in (results.key for results, _ in pairs)
        for quantity in quantities
        if key in found[quantity]
    )
    return Comparison(
        a=a.name,
        b=b.name,
        controls=compare_controls(a.controls, b.controls, margins.relative),
        differences=differences,
        means=mean_differences(differences),
        only_in_a=tuple(_label(results) for results in a.scenarios if results.key not in others),
        only_in_b=tuple(_label(results) for results in b.scenarios if results.key not in own),
    )


def _differences(
    pairs: Sequence[tuple[ScenarioResults, ScenarioResults]],
    names: tuple[str, str],
    quantity: Quantity,
    margins: Margins,
    rate: float,
) -> dict[tuple[str, str, str], Difference]:
    """Return the differences of a quantity by the key of their scenario."""
    found = [
        shift for a, b in pairs if (shift := measure_shift(a, b, names, quantity, rate)) is not None
    ]
    p_values = {id(item): item.shift.p_value for item in found if item.shift is not None}
    discoveries = find_discoveries(list(p_values.values()), rate)
    selected = dict(zip(p_values, discoveries.is_selected, strict=True))
    family = Family(rate=rate, tests=max(len(p_values), 1), level=discoveries.level)
    margin = margins.relative if RULES[quantity].is_relative else margins.vmaf

    def judge(item: MeasuredShift) -> Difference:
        return judge_difference(item, margin, family, is_selected=selected.get(id(item), False))

    return {item.a.key: judge(item) for item in found}


def _label(results: ScenarioResults) -> str:
    return f"{results.node}: {results.source}/{results.configuration}"
