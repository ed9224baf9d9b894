"""Speeds relative to the control encodes of their node, for results of independent farms."""

import statistics

from ffrtmp_analysis.comparison.compared_results import (
    ComparedSide,
    Condition,
    ControlEncodes,
    Repeat,
    ScenarioResults,
)
from ffrtmp_analysis.comparison.quantities import RULES, Quantity

_HOST_REASON = "the sides were measured by different farms, whose hosts and prices differ"
_NO_CONTROL = "the node has no control encodes, to which its speed would be related"


def relate_to_controls(side: ComparedSide) -> ComparedSide:
    """Return a side whose results can be compared with those of an independent farm.

    Each speed is divided by the median speed of the control encodes of its node, so that its unit
    is that of the control encode. Bytes and quality do not change. CPU time, energy and cost cannot
    be compared, and become unavailable with the reason.

    The ratio removes the part of the difference between two hosts that all encoders share.
    Encoders use the instructions and the caches of a processor differently, so the ratio of an
    encoder may differ between processors although nothing else does. The uncertainty of the median
    of the control encodes is not part of the values.

    Args:
        side: The side, with the control encodes of its nodes.
    """
    controls = {found.node: found for found in side.controls}
    return ComparedSide(
        name=side.name,
        scenarios=tuple(
            _related(results, _reference(controls.get(results.node))) for results in side.scenarios
        ),
    )


def _reference(controls: ControlEncodes | None) -> float | None:
    """Return the median speed of control encodes, in multiples of real time, or None."""
    speeds = [] if controls is None else [speed for speed in controls.speeds if speed > 0]
    return statistics.median(speeds) if speeds else None


def _related(results: ScenarioResults, reference: float | None) -> ScenarioResults:
    lost: dict[Quantity, str] = {
        quantity: _HOST_REASON
        for quantity in Quantity
        if RULES[quantity].is_of_host and quantity is not Quantity.SPEED
    }
    if reference is None:
        lost[Quantity.SPEED] = _NO_CONTROL
    return ScenarioResults(
        node=results.node,
        source=results.source,
        configuration=results.configuration,
        repeats=tuple(_related_repeat(repeat, reference) for repeat in results.repeats),
        # The ratio is meant for different processors, and there are no costs.
        conditions={
            condition: values
            for condition, values in results.conditions.items()
            if condition not in (Condition.CPU_MODEL, Condition.CURRENCY)
        },
        unavailable={**results.unavailable, **lost},
    )


def _related_repeat(repeat: Repeat, reference: float | None) -> Repeat:
    values = {
        quantity: value
        for quantity, value in repeat.values.items()
        if not RULES[quantity].is_of_host
    }
    if reference is not None and Quantity.SPEED in repeat.values:
        values[Quantity.SPEED] = repeat.values[Quantity.SPEED] / reference
    return Repeat(
        round=repeat.round,
        values=values,
        state=repeat.state,
        reasons=repeat.reasons,
        digest=repeat.digest,
    )
