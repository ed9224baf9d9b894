"""Bjontegaard differences of two curves: of cost at equal quality, and of quality at equal cost.

See G. Bjontegaard, "Calculation of average PSNR differences between RD-curves" (VCEG-M33), and
Herglotz et al., "The Bjontegaard Bible" (arXiv 2304.12852).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from .curve import Curve, DroppedPoint
from .piecewise_cubic import Interpolation, akima, pchip
from .uncertainty import (
    Knots,
    RepeatsInterval,
    Statistic,
    interpolation_error,
    repeats_interval,
)

OVERLAP_REQUIRED = 0.5
OVERLAP_WANTED = 0.75

_QUALITY_MAX = 100.0
"""The end of the scale of VMAF."""


@dataclass(frozen=True)
class Overlap:
    """The range that two curves share, and its share of the range that either of them covers.

    The range is one of qualities, or of natural logarithms of costs.
    """

    low: float
    high: float
    ratio: float

    @property
    def is_small(self) -> bool:
        """Return whether the curves share less than the wanted part of their range."""
        return self.ratio < OVERLAP_WANTED


@dataclass(frozen=True)
class CurveDifference:
    """A mean difference of a tested curve from a reference.

    If `is_ratio`, differences are relative, such as -0.3 for a cost that is 30 % lower. Otherwise,
    they are points of quality. All of them are None if the curves support no conclusion, which
    `reason` explains.

    Attributes:
        value: The difference with PCHIP.
        check: The difference with Akima's interpolation.
        value_of_log_quality: The difference over -log10(1 - quality / 100) instead of the quality,
            which does not stress the end of the scale; None if it is not defined.
        repeats: The interval by repeats.
        interpolation: The lowest and highest difference by the interpolation, without a
            probability.
        overlap: The range that the curves share, if both are usable.
        dropped: The points of both curves that were left out, by the name of the curve.
    """

    is_ratio: bool
    value: float | None = None
    check: float | None = None
    value_of_log_quality: float | None = None
    repeats: RepeatsInterval | None = None
    interpolation: tuple[float, float] | None = None
    overlap: Overlap | None = None
    dropped: tuple[tuple[str, tuple[DroppedPoint, ...]], ...] = ()
    reason: str | None = None


def cost_difference(reference: Curve, tested: Curve) -> CurveDifference:
    """Return the relative difference of the costs at equal quality.

    With bit rates as costs, this is the BD-rate divided by 100. With energies, amounts of money or
    CPU times, it is the BD-energy, BD-cost or BD-time.

    Args:
        reference: The curve of the reference.
        tested: The curve whose cost is compared with that of the reference.
    """
    overlap = _overlap([(curve.low, curve.high) for curve in _usable(reference, tested)])
    reason = _rejection(reference, tested, overlap, "qualities")
    dropped = _dropped(reference, tested)
    if reason is not None:
        return CurveDifference(is_ratio=True, overlap=overlap, dropped=dropped, reason=reason)
    curves = (reference, tested)
    knots = [Knots.of(curve) for curve in curves]
    statistic = partial(_log_ratio, pchip)
    return CurveDifference(
        is_ratio=True,
        value=math.expm1(statistic(knots)),
        check=math.expm1(_log_ratio(akima, knots)),
        value_of_log_quality=_of_log_quality(knots),
        repeats=_transformed(repeats_interval(statistic, curves), math.expm1),
        interpolation=_range(statistic, curves, math.expm1),
        overlap=overlap,
        dropped=dropped,
    )


def quality_difference(reference: Curve, tested: Curve) -> CurveDifference:
    """Return the difference of the qualities at equal cost, in points.

    The costs must ascend with the quality, as bit rates do.

    Args:
        reference: The curve of the reference.
        tested: The curve whose quality is compared with that of the reference.
    """
    usable = _usable(reference, tested)
    ends = [(curve.points[0].log_cost, curve.points[-1].log_cost) for curve in usable]
    overlap = _overlap(ends)
    reason = _rejection(reference, tested, overlap, "costs") or _descent(usable)
    dropped = _dropped(reference, tested)
    if reason is not None:
        return CurveDifference(is_ratio=False, overlap=overlap, dropped=dropped, reason=reason)
    curves = (reference, tested)
    knots = [Knots.of(curve) for curve in curves]
    statistic = partial(_quality_gap, pchip)
    return CurveDifference(
        is_ratio=False,
        value=statistic(knots),
        check=_quality_gap(akima, knots),
        repeats=repeats_interval(statistic, curves),
        interpolation=_range(statistic, curves, float),
        overlap=overlap,
        dropped=dropped,
    )


def relative_costs(reference: Curve, tested: Curve, count: int) -> list[tuple[float, float]]:
    """Return the relative difference of the costs at qualities of equal distance.

    This shows where the mean of `cost_difference` comes from. It is empty if that is unavailable.

    Args:
        reference: The curve of the reference.
        tested: The other curve.
        count: Number of qualities, at least 2.

    Returns:
        Pairs of a quality and the relative difference.
    """
    overlap = _overlap([(curve.low, curve.high) for curve in _usable(reference, tested)])
    if overlap is None or _rejection(reference, tested, overlap, "qualities") is not None:
        return []
    left, right = (
        pchip(knots.qualities, knots.log_costs) for knots in map(Knots.of, (reference, tested))
    )
    step = (overlap.high - overlap.low) / (count - 1)
    # The last quality is stated exactly, because rounding could move it out of the range.
    qualities = [*(overlap.low + number * step for number in range(count - 1)), overlap.high]
    return [(at, math.expm1(right.at(at) - left.at(at))) for at in qualities]


def _usable(reference: Curve, tested: Curve) -> list[Curve]:
    """Return both curves, or none if one of them supports no conclusion."""
    curves = [reference, tested]
    return curves if all(curve.reason is None for curve in curves) else []


def _overlap(ranges: Sequence[tuple[float, float]]) -> Overlap | None:
    if not ranges:
        return None
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    union = max(high for _, high in ranges) - min(low for low, _ in ranges)
    if high <= low or union <= 0:
        return Overlap(low, low, 0.0)
    return Overlap(low, high, (high - low) / union)


def _rejection(reference: Curve, tested: Curve, overlap: Overlap | None, what: str) -> str | None:
    reasons = [curve.reason for curve in (reference, tested) if curve.reason is not None]
    if reasons or overlap is None:
        return "; ".join(reasons)
    if overlap.ratio < OVERLAP_REQUIRED:
        return (
            f"the {what} overlap in {overlap.ratio * 100:.0f} % of their range, "
            f"and {OVERLAP_REQUIRED * 100:.0f} % are required"
        )
    return None


def _descent(curves: Sequence[Curve]) -> str | None:
    """Return which curve has costs that do not ascend, if any."""
    for curve in curves:
        costs = [point.log_cost for point in curve.points]
        if any(right <= left for left, right in pairwise(costs)):
            return f"{curve.name}: the costs do not ascend with the quality"
    return None


def _dropped(*curves: Curve) -> tuple[tuple[str, tuple[DroppedPoint, ...]], ...]:
    return tuple((curve.name, curve.dropped) for curve in curves if curve.dropped)


def _log_ratio(interpolation: Interpolation, knots: Sequence[Knots]) -> float:
    """Return the mean difference of the logarithms of the costs over the common qualities."""
    return _mean_gap(interpolation, [(each.qualities, each.log_costs) for each in knots])


def _quality_gap(interpolation: Interpolation, knots: Sequence[Knots]) -> float:
    """Return the mean difference of the qualities over the common logarithms of costs."""
    return _mean_gap(interpolation, [(each.log_costs, each.qualities) for each in knots])


def _mean_gap(
    interpolation: Interpolation, curves: Sequence[tuple[Sequence[float], Sequence[float]]]
) -> float:
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    left, right = (interpolation(x, y).integral(low, high) for x, y in curves)
    return (right - left) / (high - low)


def _of_log_quality(knots: Sequence[Knots]) -> float | None:
    if any(each.qualities[0] < 0 or each.qualities[-1] >= _QUALITY_MAX for each in knots):
        return None
    changed = [
        Knots(
            each.log_costs,
            tuple(-math.log10(1 - quality / _QUALITY_MAX) for quality in each.qualities),
        )
        for each in knots
    ]
    return math.expm1(_log_ratio(pchip, changed))


def _range(
    statistic: Statistic, curves: Sequence[Curve], transform: Callable[[float], float]
) -> tuple[float, float]:
    value = statistic([Knots.of(curve) for curve in curves])
    error = interpolation_error(statistic, curves)
    return transform(value - error), transform(value + error)


def _transformed(interval: RepeatsInterval, transform: Callable[[float], float]) -> RepeatsInterval:
    if interval.low is None or interval.high is None:
        return interval
    return RepeatsInterval(
        transform(interval.low), transform(interval.high), interval.is_deterministic
    )
