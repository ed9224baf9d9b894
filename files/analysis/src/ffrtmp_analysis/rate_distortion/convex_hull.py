"""Convex hull of the rate-distortion points of several resolutions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .curve import SATURATION_VMAF, Curve, DroppedPoint, RatePoint, make_curve


@dataclass(frozen=True)
class Hull:
    """The best points over several resolutions.

    `curve` contains the points on the hull, whose names are SIZE/NAME, and `sizes` the resolutions
    that it uses, in ascending order of bit rate.
    """

    curve: Curve
    sizes: tuple[str, ...]


def convex_hull(
    name: str,
    points: Mapping[str, Iterable[RatePoint]],
    saturation: float | None = SATURATION_VMAF,
) -> Hull:
    """Return the upper convex hull of quality over the logarithm of the bit rate.

    Each point on it has a higher quality than any mixture of others at the same bit rate, and the
    qualities ascend. The algorithm is the monotone chain of Andrew, "Another efficient algorithm
    for convex hulls in two dimensions", Information Processing Letters 9 (1979).

    Args:
        name: Name of the curve.
        points: The points of each resolution by its name. Qualities of all of them must have been
            measured at the same resolution.
        saturation: The quality from which points are saturated, or None if the scale has no end.
    """
    size_of: dict[str, str] = {}
    usable: list[RatePoint] = []
    dropped: list[DroppedPoint] = []
    reason = None
    for size, found in points.items():
        renamed = [replace(point, name=f"{size}/{point.name}") for point in found]
        cleaned = make_curve(name, renamed, saturation)
        if renamed and not cleaned.points and not cleaned.dropped:
            reason = reason or cleaned.reason
        size_of |= {point.name: size for point in cleaned.points}
        usable += cleaned.points
        dropped += cleaned.dropped
    hull = make_curve(name, _upper_chain(usable), None)
    sizes = tuple(dict.fromkeys(size_of[point.name] for point in hull.points))
    return Hull(replace(hull, dropped=tuple(dropped), reason=reason or hull.reason), sizes)


def _upper_chain(points: Iterable[RatePoint]) -> list[RatePoint]:
    """Return the points of the upper hull in ascending order, up to the one of highest quality."""
    chain: list[RatePoint] = []
    for point in sorted(points, key=lambda point: (point.log_cost, -point.quality)):
        if chain and point.quality <= chain[-1].quality:
            # It costs more than a point that is as good, and so would all mixtures with it.
            continue
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) >= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(first: RatePoint, middle: RatePoint, last: RatePoint) -> float:
    """Return a positive number if the way through the points turns left, negative if right."""
    return (middle.log_cost - first.log_cost) * (last.quality - first.quality) - (
        middle.quality - first.quality
    ) * (last.log_cost - first.log_cost)
