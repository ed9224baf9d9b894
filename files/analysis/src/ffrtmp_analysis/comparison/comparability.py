"""Reasons why the results of two sides cannot be compared."""

from collections.abc import Sequence

from ffrtmp_shared.verdict import VerdictState

from ffrtmp_analysis.comparison.compared_results import Condition, Repeat, ScenarioResults
from ffrtmp_analysis.comparison.quantities import DISTURBANCES, RULES, Quantity
from ffrtmp_analysis.statistics.detectability import repeats_for_interval

_QUANTITIES = {
    Condition.QUALITY_MODEL: frozenset({Quantity.VMAF_NEG}),
    Condition.CURRENCY: frozenset({Quantity.COST}),
    Condition.CPU_MODEL: frozenset(quantity for quantity in Quantity if RULES[quantity].is_of_host),
}
"""The quantities to which a condition matters. Conditions that are not listed matter to all."""

_DIGEST_CHARACTERS = 40


def measured(results: ScenarioResults, quantity: Quantity) -> list[Repeat]:
    """Return the results that have a value of a quantity and are not invalid."""
    return [
        repeat
        for repeat in results.repeats
        if repeat.state is not VerdictState.INVALID and quantity in repeat.values
    ]


def find_obstacle(
    a: ScenarioResults, b: ScenarioResults, names: tuple[str, str], quantity: Quantity
) -> str | None:
    """Return why a quantity of two sides cannot be compared, or None if it can.

    Args:
        a: The results of the first side.
        b: The results of the second side.
        names: The names of the sides.
        quantity: The quantity.
    """
    for results, name in zip((a, b), names, strict=True):
        if not measured(results, quantity):
            return f"{name} has no value: {_reason_without_value(results, quantity)}"
    obstacle = _different_condition(a, b, names, quantity)
    if obstacle is not None:
        return obstacle
    if RULES[quantity].is_of_host:
        for results, name in zip((a, b), names, strict=True):
            repeats = measured(results, quantity)
            disturbed = sum(bool(DISTURBANCES.intersection(repeat.reasons)) for repeat in repeats)
            if 2 * disturbed > len(repeats):
                return (
                    f"{disturbed} of {len(repeats)} results of {name} are degraded by other load "
                    "or steal. Measure again on an idle node"
                )
    if RULES[quantity].is_relative and any(
        repeat.values[quantity] <= 0 for results in (a, b) for repeat in measured(results, quantity)
    ):
        return "a value is not positive, so that no ratio exists"
    return None


def few_repeats_text(n_a: int, n_b: int, level: float, *, is_paired: bool) -> str:
    """Return the reason why there is no interval for two numbers of repeats."""
    needed = repeats_for_interval(level, is_paired=is_paired)
    return (
        f"{n_a} and {n_b} results are too few for a {100 * (1 - level):g} % interval. Measure at "
        f"least {needed} repeats of each side"
    )


def _reason_without_value(results: ScenarioResults, quantity: Quantity) -> str:
    invalid = sum(repeat.state is VerdictState.INVALID for repeat in results.repeats)
    if invalid == len(results.repeats):
        reasons = sorted({reason for repeat in results.repeats for reason in repeat.reasons})
        return f"all {invalid} results are invalid ({', '.join(reasons) or 'unknown reason'})"
    return results.unavailable.get(quantity, "it was not measured")


def _different_condition(
    a: ScenarioResults, b: ScenarioResults, names: tuple[str, str], quantity: Quantity
) -> str | None:
    for condition in Condition:
        if quantity not in _QUANTITIES.get(condition, frozenset(Quantity)):
            continue
        values = [results.conditions.get(condition, ()) for results in (a, b)]
        for found, name in zip(values, names, strict=True):
            if len(found) > 1:
                return f"{name} has results with more than one {condition}: {_listed(found)}"
        # Builds are what is compared. Only a mixture of them within a side is an obstacle.
        if condition is not Condition.FFMPEG and all(values) and values[0] != values[1]:
            return f"the {condition} differs: {_listed(values[0])} and {_listed(values[1])}"
    return None


def _listed(values: Sequence[str]) -> str:
    return ", ".join(value[:_DIGEST_CHARACTERS] for value in values)
