"""Uncertainty of figures that are computed from curves: by repeats, and by interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..student_t import two_sided_quantile
from .curve import Curve, RatePoint
from .piecewise_cubic import POINTS_MIN

CONFIDENCE = 0.95

DENSE_POINTS = 6
"""Number of points from which the effect of leaving one out is halved, because the distance of the
others then exceeds the measured distance more than the error of the complete curve does."""

_STEP = 1e-5
"""Change of a logarithm of a cost, and of a quality relative to the range of the curve, by which
derivatives are computed."""


@dataclass(frozen=True)
class Knots:
    """The positions of a curve: logarithms of mean costs, and mean qualities, which ascend."""

    log_costs: tuple[float, ...]
    qualities: tuple[float, ...]

    @classmethod
    def of(cls, curve: Curve) -> Knots:
        """Return the knots of a curve."""
        return cls(
            tuple(point.log_cost for point in curve.points),
            tuple(point.quality for point in curve.points),
        )

    def without(self, number: int) -> Knots:
        """Return the knots without one of them."""
        return Knots(_without(self.log_costs, number), _without(self.qualities, number))

    def changed(self, number: int, log_cost: float, quality: float) -> Knots:
        """Return the knots after one of them was moved by the given amounts."""
        return Knots(
            _changed(self.log_costs, number, log_cost), _changed(self.qualities, number, quality)
        )


Statistic = Callable[[Sequence[Knots]], float]
"""A figure that is computed from one or more curves, such as the logarithm of a ratio of costs."""


@dataclass(frozen=True)
class RepeatsInterval:
    """The 95 % interval of a figure over repeats of all encodes.

    If `is_deterministic`, all repeats of each encode had the same output, and both bounds are the
    figure itself. If there is no interval, both bounds are None and `reason` states why.
    """

    low: float | None
    high: float | None
    is_deterministic: bool = False
    reason: str | None = None


def repeats_interval(statistic: Statistic, curves: Sequence[Curve]) -> RepeatsInterval:
    """Return the interval by the delta method.

    The figure is nearly linear in the means over the repeats of each point. Its variance is that of
    the linear function with the derivatives as weights. The covariance of the logarithm of the cost
    and the quality is pooled over the points of a curve. The degrees of freedom are those of Welch
    and Satterthwaite. For two curves of four points with n repeats, the same weights and the same
    noise, these are 8 (n - 1).

    Args:
        statistic: The figure.
        curves: The curves from which it is computed, which must be usable.
    """
    knots = [Knots.of(curve) for curve in curves]
    value = statistic(knots)
    if all(point.is_deterministic for curve in curves for point in curve.points):
        return RepeatsInterval(value, value, is_deterministic=True)
    variances, divisor = [], 0.0
    for number, curve in enumerate(curves):
        varying = [point for point in curve.points if not point.is_deterministic]
        degrees = sum(len(point.costs) - 1 for point in varying)
        if not varying:
            continue
        if degrees == 0:
            return RepeatsInterval(None, None, reason=f"{curve.name}: one repeat of each point")
        variance = _variance(statistic, knots, number, curve, degrees)
        variances.append(variance)
        divisor += variance**2 / degrees
    total = math.fsum(variances)
    if divisor == 0:
        return RepeatsInterval(value, value)
    half = two_sided_quantile(CONFIDENCE, total**2 / divisor) * math.sqrt(total)
    return RepeatsInterval(value - half, value + half)


def interpolation_error(statistic: Statistic, curves: Sequence[Curve]) -> float:
    """Return by how much a figure depends on the choice of the points.

    It is the largest change of the figure if one of the inner points of a curve is left out: the
    subset error of Herglotz et al., "The Bjontegaard Bible" (arXiv 2304.12852). It is no
    probability.

    Args:
        statistic: The figure.
        curves: The curves from which it is computed, which must be usable.
    """
    knots = [Knots.of(curve) for curve in curves]
    value, largest = statistic(knots), 0.0
    for number, complete in enumerate(knots):
        count = len(complete.qualities)
        if count <= POINTS_MIN:
            continue
        share = 0.5 if count >= DENSE_POINTS else 1.0
        for left_out in range(1, count - 1):
            changed = statistic(_replaced(knots, number, complete.without(left_out)))
            largest = max(largest, share * abs(changed - value))
    return largest


def _variance(
    statistic: Statistic, knots: Sequence[Knots], number: int, curve: Curve, degrees: int
) -> float:
    """Return the variance of the figure that the repeats of one curve cause."""
    by_cost = by_both = by_quality = 0.0
    of_costs = covariance = of_qualities = 0.0
    quality_step = _STEP * (curve.high - curve.low)
    for at, point in enumerate(curve.points):
        if point.is_deterministic:
            continue
        costs, both, qualities = _squares(point)
        of_costs, covariance, of_qualities = (
            of_costs + costs,
            covariance + both,
            of_qualities + qualities,
        )
        cost_slope = _slope(statistic, knots, number, (at, _STEP, 0.0))
        quality_slope = _slope(statistic, knots, number, (at, 0.0, quality_step))
        count = len(point.costs)
        by_cost += cost_slope**2 / count
        by_both += 2 * cost_slope * quality_slope / count
        by_quality += quality_slope**2 / count
    total = by_cost * of_costs + by_both * covariance + by_quality * of_qualities
    return max(0.0, total / degrees)


def _slope(
    statistic: Statistic, knots: Sequence[Knots], number: int, move: tuple[int, float, float]
) -> float:
    """Return the derivative of the figure if a knot moves in one direction."""
    at, log_cost, quality = move
    complete = knots[number]
    above = statistic(_replaced(knots, number, complete.changed(at, log_cost, quality)))
    below = statistic(_replaced(knots, number, complete.changed(at, -log_cost, -quality)))
    return (above - below) / 2 / (log_cost or quality)


def _squares(point: RatePoint) -> tuple[float, float, float]:
    """Return the sums of squares and products of the deviations from the means."""
    costs = [math.log(cost) - point.log_cost for cost in point.costs]
    qualities = [quality - point.quality for quality in point.qualities]
    return (
        math.fsum(cost**2 for cost in costs),
        math.fsum(cost * quality for cost, quality in zip(costs, qualities, strict=True)),
        math.fsum(quality**2 for quality in qualities),
    )


def _replaced(knots: Sequence[Knots], number: int, by: Knots) -> list[Knots]:
    return [*knots[:number], by, *knots[number + 1 :]]


def _without(values: tuple[float, ...], number: int) -> tuple[float, ...]:
    return values[:number] + values[number + 1 :]


def _changed(values: tuple[float, ...], number: int, by: float) -> tuple[float, ...]:
    return (*values[:number], values[number] + by, *values[number + 1 :])
