"""Shift of the control encodes between two sides, which shows that a node has changed."""

import math
import statistics
from collections.abc import Sequence

from ffrtmp_analysis.comparison.compared_results import ControlEncodes
from ffrtmp_analysis.comparison.differences import ControlShift
from ffrtmp_analysis.statistics.shift import shift_of_sets

_LEVEL = 0.05


def compare_controls(
    a: Sequence[ControlEncodes], b: Sequence[ControlEncodes], margin: float
) -> tuple[ControlShift, ...]:
    """Return the shift of the control encodes of each node that both sides have.

    Args:
        a: The control encodes of the first side.
        b: The control encodes of the second side.
        margin: The relative difference that does not matter.
    """
    others = {controls.node: controls for controls in b}
    return tuple(
        _compare(controls, others[controls.node], margin)
        for controls in sorted(a, key=lambda controls: controls.node)
        if controls.node in others
    )


def _compare(a: ControlEncodes, b: ControlEncodes, margin: float) -> ControlShift:
    change, low, high = _ratio(a.speeds, b.speeds)
    is_shifted, reason = _judge(a, b, (low, high), margin)
    return ControlShift(
        node=a.node,
        is_shifted=is_shifted,
        n_a=len(a.speeds),
        n_b=len(b.speeds),
        change=change,
        low=low,
        high=high,
        reason=reason,
    )


def _ratio(
    a: Sequence[float], b: Sequence[float]
) -> tuple[float | None, float | None, float | None]:
    """Return the ratio of speeds and the bounds of its interval, each minus 1."""
    if not a or not b or min(*a, *b) <= 0:
        return None, None, None
    shift = shift_of_sets([math.log(speed) for speed in a], [math.log(speed) for speed in b])
    interval = shift.interval(_LEVEL)
    low, high = (None, None) if interval is None else map(math.expm1, interval)
    return math.expm1(shift.estimate), low, high


def _judge(
    a: ControlEncodes,
    b: ControlEncodes,
    interval: tuple[float | None, float | None],
    margin: float,
) -> tuple[bool | None, str]:
    for controls, name in ((a, "first"), (b, "second")):
        if controls.is_unusual:
            return True, f"the node changed during the run of the {name} side"
    for controls in (a, b):
        if controls.usual_low is None or controls.usual_high is None:
            continue
        for speeds, name in ((a.speeds, "first"), (b.speeds, "second")):
            if not speeds:
                continue
            speed = statistics.median(speeds)
            if not controls.usual_low <= speed <= controls.usual_high:
                return True, f"the speed of the {name} side is outside the usual range of the node"
    low, high = interval
    if low is None or high is None:
        return None, "there are too few control encodes to show a shift"
    is_shifted = not low <= 0 <= high and not -margin <= low <= high <= margin
    return is_shifted, "the interval excludes 0" if is_shifted else "no shift was shown"
