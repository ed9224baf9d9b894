"""Curves of cost over quality, and the guards that decide which points they contain.

The cost is the bit rate, or what an encode takes in time, energy or money.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

POINTS_MIN = 4
"""Least number of points of a curve, as in the common test conditions of JVET and AOM."""

SATURATION_VMAF = 99.5
"""VMAF from which a higher bit rate hardly raises the score, as in the common test conditions of
AOM."""


@dataclass(frozen=True)
class RatePoint:
    """The repeats of an encode at one rate point.

    `costs` and `qualities` have one value for each repeat. `is_deterministic` states that all
    repeats had the same output, so that neither of them can differ between repeats.
    """

    name: str
    costs: tuple[float, ...]
    qualities: tuple[float, ...]
    is_deterministic: bool = False

    @property
    def log_cost(self) -> float:
        """The mean of the logarithms of the costs."""
        return math.fsum(map(math.log, self.costs)) / len(self.costs)

    @property
    def quality(self) -> float:
        """The mean of the qualities."""
        return math.fsum(self.qualities) / len(self.qualities)


@dataclass(frozen=True)
class DroppedPoint:
    """A point that a curve does not contain, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Curve:
    """A curve of cost over quality.

    `points` ascend in quality. If `reason` is not None, it states why the curve supports no
    conclusion. `dropped` are the points that were left out.
    """

    name: str
    points: tuple[RatePoint, ...]
    dropped: tuple[DroppedPoint, ...] = ()
    reason: str | None = None

    @property
    def low(self) -> float:
        """The lowest quality."""
        return self.points[0].quality

    @property
    def high(self) -> float:
        """The highest quality."""
        return self.points[-1].quality

    def with_costs(self, costs: Mapping[str, Sequence[float]], what: str) -> Curve:
        """Return the curve of another cost over the same qualities.

        It has the same points, and they need not ascend in this cost: an encode at a higher quality
        may take less time, and the difference of two curves at equal quality is still defined.

        Args:
            costs: For each point of the curve by its name, the cost of each repeat.
            what: What the cost is, such as `energy`, for the reason if a point has none.
        """
        reason = self.reason
        points = []
        for point in self.points:
            found = tuple(costs.get(point.name, ()))
            if len(found) != len(point.qualities) or not all(map(_is_positive, found)):
                reason = reason or f"{self.name}: the {what} of {point.name} is unavailable"
                found = point.costs
            points.append(replace(point, costs=found, is_deterministic=False))
        return replace(self, points=tuple(points), reason=reason)


def make_curve(
    name: str, points: Iterable[RatePoint], saturation: float | None = SATURATION_VMAF
) -> Curve:
    """Return the curve of some points, without those that are saturated or dominated.

    - From the first point whose quality reaches `saturation`, all points are dropped.
    - Of points with the same quality, the most expensive ones are dropped, and of points with the
      same cost, those with the lowest quality.
    - The curve has a reason for which it supports no conclusion if the remaining points do not
      ascend in both, or are fewer than four.

    Args:
        name: Name of the curve.
        points: The points, in any order.
        saturation: The quality from which points are saturated, or None if the scale has no end.
    """
    given = list(points)
    for point in given:
        if not _is_measured(point):
            return Curve(name, (), (), f"{name}: {point.name} lacks a positive cost or a quality")
    ordered = sorted(given, key=lambda point: (point.log_cost, -point.quality))
    dropped: list[DroppedPoint] = []
    kept: list[RatePoint] = []
    saturated: RatePoint | None = None
    for point in ordered:
        if saturated is not None:
            dropped.append(DroppedPoint(point.name, f"saturated, as is {saturated.name}"))
        elif saturation is not None and point.quality >= saturation:
            saturated = point
            dropped.append(DroppedPoint(point.name, f"saturated at {point.quality:.2f}"))
        elif kept and _is_duplicate(kept[-1], point):
            dropped.append(DroppedPoint(point.name, f"dominated by {kept[-1].name}"))
        else:
            kept.append(point)
    return Curve(name, tuple(kept), tuple(dropped), _problem(name, kept, dropped))


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _is_measured(point: RatePoint) -> bool:
    return (
        bool(point.costs)
        and len(point.costs) == len(point.qualities)
        and all(map(_is_positive, point.costs))
        and all(map(math.isfinite, point.qualities))
    )


def _is_duplicate(cheaper: RatePoint, point: RatePoint) -> bool:
    """Return whether `point` costs or achieves the same as a point that is not worse."""
    is_as_good = point.quality == cheaper.quality
    is_as_expensive = point.log_cost == cheaper.log_cost and point.quality < cheaper.quality
    return is_as_good or is_as_expensive


def _problem(name: str, kept: Sequence[RatePoint], dropped: Sequence[DroppedPoint]) -> str | None:
    for cheaper, point in pairwise(kept):
        if point.quality < cheaper.quality:
            return f"{name}: {point.name} costs more than {cheaper.name} at a lower quality"
    if len(kept) < POINTS_MIN:
        names = ", ".join(f"{point.name} {point.reason}" for point in dropped)
        return (
            f"{name}: {len(kept)} usable points, but {POINTS_MIN} are required"
            f"{f' ({names})' if names else ''}"
        )
    return None
