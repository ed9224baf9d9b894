"""Cost at a given quality, by interpolation of one curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .curve import Curve
from .piecewise_cubic import Interpolation, akima, pchip
from .uncertainty import Knots, RepeatsInterval, interpolation_error, repeats_interval

TARGETS_VMAF = (80.0, 90.0, 95.0)
"""The qualities for which the cost is usually stated."""


@dataclass(frozen=True)
class TargetCost:
    """The cost at a quality, in the unit of the curve.

    The figures are those of a Difference. They are None if the cost is unavailable, which `reason`
    explains.
    """

    quality: float
    value: float | None = None
    check: float | None = None
    repeats: RepeatsInterval | None = None
    interpolation: tuple[float, float] | None = None
    reason: str | None = None


def cost_at(curve: Curve, quality: float) -> TargetCost:
    """Return the cost at a quality, such as the bit rate at VMAF 90.

    Args:
        curve: The curve.
        quality: The quality. It must be within the range of the curve, as nothing is extrapolated.
    """
    if curve.reason is not None:
        return TargetCost(quality, reason=curve.reason)
    if not curve.low <= quality <= curve.high:
        side = "below" if quality < curve.low else "above"
        return TargetCost(
            quality,
            reason=f"{curve.name}: {quality:g} is {side} the measured qualities, "
            f"{curve.low:.2f} to {curve.high:.2f}",
        )

    def log_cost(interpolation: Interpolation, knots: Sequence[Knots]) -> float:
        (single,) = knots
        # Derivatives move the ends of the curve by very little.
        within = min(max(quality, single.qualities[0]), single.qualities[-1])
        return interpolation(single.qualities, single.log_costs).at(within)

    def statistic(knots: Sequence[Knots]) -> float:
        return log_cost(pchip, knots)

    knots = [Knots.of(curve)]
    value, error = statistic(knots), interpolation_error(statistic, [curve])
    repeats = repeats_interval(statistic, [curve])
    return TargetCost(
        quality,
        value=math.exp(value),
        check=math.exp(log_cost(akima, knots)),
        repeats=RepeatsInterval(
            None if repeats.low is None else math.exp(repeats.low),
            None if repeats.high is None else math.exp(repeats.high),
            repeats.is_deterministic,
            repeats.reason,
        ),
        interpolation=(math.exp(value - error), math.exp(value + error)),
    )
