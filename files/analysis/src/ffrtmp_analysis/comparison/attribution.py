"""Attribution of differences of speed and energy to recorded factors.

The speed of an encode is proportional to `clock * threads_used / cycles`: its CPU time is the
number of cycles divided by the clock, and its duration is the CPU time divided by the mean number
of threads that ran. Logarithms of the three ratios therefore add up to that of the speed. Cycles
are not recorded, so that what remains is unexplained.

Steal, throttling and pressure reduce the threads that run. The change of this number is attributed
to them as far as they account for it, in this order, and the rest is that of the encode itself:

- steal: the fraction of time that remains, `1 - steal`;
- throttling: the fraction of time that remains, `1 - throttling`;
- pressure: `threads / (threads + pressure)`, because at least one more thread would have run in
  this fraction of the time.

Energy is power times duration, so that each part of the speed counts with the opposite sign, and
the mean power is a further factor.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

from ffrtmp_analysis.comparison.compared_results import Repeat
from ffrtmp_analysis.comparison.differences import DifferencePart
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_analysis.comparison.recorded_factors import Factor

ATTRIBUTED = frozenset({Quantity.SPEED, Quantity.ENERGY})
"""The quantities whose differences are attributed."""

_FRACTIONS = (Factor.STEAL, Factor.THROTTLING)
_Medians = Mapping[Factor, float]


def attribute_change(
    a: Sequence[Repeat], b: Sequence[Repeat], quantity: Quantity, change: float
) -> tuple[tuple[DifferencePart, ...], float]:
    """Return the parts of a change that recorded factors account for, and the unexplained rest.

    Parts and rest add up to the change. They are shares of its logarithm, scaled to the change.

    Args:
        a: The results of the first side.
        b: The results of the second side.
        quantity: `speed` or `energy`.
        change: The change from the first to the second side, as a ratio minus 1. It is not 0.
    """
    medians = _medians(a), _medians(b)
    logarithms = _parts_of_speed(*medians)
    if quantity is Quantity.ENERGY:
        logarithms = {factor: -part for factor, part in logarithms.items()}
        logarithms |= _ratio(*medians, Factor.POWER)
    scale = change / math.log1p(change)
    is_energy = quantity is Quantity.ENERGY
    shown = [factor for factor in Factor if is_energy or factor is not Factor.POWER]
    parts = tuple(
        DifferencePart(
            factor=factor,
            change=scale * logarithms[factor] if factor in logarithms else None,
            a=medians[0].get(factor),
            b=medians[1].get(factor),
        )
        for factor in shown
    )
    return parts, change - scale * sum(logarithms.values())


def _medians(repeats: Sequence[Repeat]) -> dict[Factor, float]:
    """Return the medians of the factors that all repeats have."""
    return {
        factor: statistics.median(repeat.factors[factor] for repeat in repeats)
        for factor in Factor
        if repeats and all(factor in repeat.factors for repeat in repeats)
    }


def _parts_of_speed(a: _Medians, b: _Medians) -> dict[Factor, float]:
    """Return the logarithm of the ratio of speeds that each factor accounts for."""
    parts = _ratio(a, b, Factor.CLOCK)
    threads = _ratio(a, b, Factor.THREADS)
    if not threads:
        return parts
    rest = threads[Factor.THREADS]
    for factor in (*_FRACTIONS, Factor.PRESSURE):
        lost = _log_of_remaining(a, b, factor)
        if lost is None:
            continue
        # A factor accounts at most for the change that was measured, and only for its direction.
        parts[factor] = max(min(lost, rest), 0.0) if rest > 0 else min(max(lost, rest), 0.0)
        rest -= parts[factor]
    parts[Factor.THREADS] = rest
    return parts


def _ratio(a: _Medians, b: _Medians, factor: Factor) -> dict[Factor, float]:
    if a.get(factor, 0) <= 0 or b.get(factor, 0) <= 0:
        return {}
    return {factor: math.log(b[factor] / a[factor])}


def _log_of_remaining(a: _Medians, b: _Medians, factor: Factor) -> float | None:
    if factor not in a or factor not in b:
        return None
    if factor in _FRACTIONS:
        remaining = [1 - side[factor] for side in (a, b)]
    else:
        remaining = [
            side[Factor.THREADS] / (side[Factor.THREADS] + side[factor]) for side in (a, b)
        ]
    return math.log(remaining[1] / remaining[0]) if min(remaining) > 0 else None
