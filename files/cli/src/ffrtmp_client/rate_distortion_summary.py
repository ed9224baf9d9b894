"""Rate-distortion figures of a run as data: bit rates at qualities, differences of pairs, hulls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from .encode_curves import EncodeCurves, Place, RunCurves, find_cost_problem
from .rate_distortion.contents import MeanCurveDifference, mean_over_contents
from .rate_distortion.convex_hull import Hull, convex_hull
from .rate_distortion.curve import Curve
from .rate_distortion.difference import CurveDifference, cost_difference, quality_difference
from .rate_distortion.quality_target import TARGETS_VMAF, TargetCost, cost_at


@dataclass(frozen=True)
class EncodeRates:
    """The curve of one encode of one source, and its bit rates at the usual qualities.

    Attributes:
        place: The node and the FFmpeg build.
        source: Name of the source.
        encode: Name of the encode in texts.
        curve: The bit rates in kbit/s over the quality, with the points that were left out.
        targets: The bit rate in kbit/s at each of the qualities 80, 90 and 95.
    """

    place: Place
    source: str
    encode: str
    curve: Curve
    targets: tuple[TargetCost, ...]


@dataclass(frozen=True)
class PairDifferences:
    """The differences of the second encode of a pair from the first.

    Attributes:
        place: The node and the FFmpeg build.
        reference: Name of the first encode.
        tested: Name of the second encode.
        rates: The relative difference of the bit rates at equal quality, by source.
        qualities: The difference of the qualities at equal bit rate in points, by source.
        costs: The relative differences of other costs at equal quality, by name of the cost and by
            source. `time_ratio` is the inverse of the speed.
        mean_rate: The mean of `rates` over the sources.
    """

    place: Place
    reference: str
    tested: str
    rates: Mapping[str, CurveDifference]
    qualities: Mapping[str, CurveDifference]
    costs: Mapping[str, Mapping[str, CurveDifference]]
    mean_rate: MeanCurveDifference


@dataclass(frozen=True)
class SizeHull:
    """The convex hull of an encoder's points over several sizes of the picture."""

    place: Place
    source: str
    configuration: str
    hull: Hull


@dataclass(frozen=True)
class RateDistortionSummary:
    """All rate-distortion figures of a run. `quality` is the name of the quality in texts."""

    quality: str
    encodes: tuple[EncodeRates, ...]
    pairs: tuple[PairDifferences, ...]
    hulls: tuple[SizeHull, ...]


def summarize_rate_distortion(found: RunCurves) -> RateDistortionSummary:
    """Return the rate-distortion figures of a run.

    Figures that cannot be computed, for example because there are fewer than four rate points, are
    None, and their `reason` explains it.

    Args:
        found: The curves of the run.
    """
    encodes: list[EncodeRates] = []
    pairs: list[PairDifferences] = []
    hulls: list[SizeHull] = []
    for place, sources in found.curves.items():
        for source, curves in sources.items():
            encodes += [
                EncodeRates(
                    place=place,
                    source=source,
                    encode=label,
                    curve=each.rate,
                    targets=tuple(cost_at(each.rate, quality) for quality in TARGETS_VMAF),
                )
                for label, each in curves.items()
            ]
            hulls += _hulls(place, source, curves)
        pairs += _pairs(place, sources)
    return RateDistortionSummary(found.quality, tuple(encodes), tuple(pairs), tuple(hulls))


def _pairs(
    place: Place, sources: Mapping[str, Mapping[str, EncodeCurves]]
) -> Iterable[PairDifferences]:
    labels = dict.fromkeys(label for curves in sources.values() for label in curves)
    for reference, tested in combinations(labels, 2):
        both = {
            source: (curves[reference], curves[tested])
            for source, curves in sources.items()
            if reference in curves and tested in curves
        }
        if not both:
            continue
        costs: dict[str, dict[str, CurveDifference]] = {}
        for source, (left, right) in both.items():
            for name in left.costs.keys() & right.costs.keys():
                costs.setdefault(name, {})[source] = _cost_difference(left, right, name)
        rates = {
            source: cost_difference(left.rate, right.rate) for source, (left, right) in both.items()
        }
        yield PairDifferences(
            place=place,
            reference=reference,
            tested=tested,
            rates=rates,
            qualities={
                source: quality_difference(left.rate, right.rate)
                for source, (left, right) in both.items()
            },
            costs={name: costs[name] for name in sorted(costs)},
            mean_rate=mean_over_contents(rates),
        )


def _cost_difference(left: EncodeCurves, right: EncodeCurves, name: str) -> CurveDifference:
    problem = find_cost_problem((left, right), name)
    if problem is not None:
        return CurveDifference(is_ratio=True, reason=problem)
    return cost_difference(left.costs[name], right.costs[name])


def _hulls(place: Place, source: str, curves: Mapping[str, EncodeCurves]) -> Iterable[SizeHull]:
    """Yield the hull of each encoder and preset that encoded the source at several sizes.

    If several encodes differ only in other settings, they share no hull.
    """
    groups: dict[str, list[EncodeCurves]] = {}
    for each in curves.values():
        if each.size is not None:
            groups.setdefault(each.configuration, []).append(each)
    for configuration, members in groups.items():
        points = {str(each.size): each.rate.points for each in members}
        if 1 < len(points) == len(members):
            yield SizeHull(place, source, configuration, convex_hull(configuration, points))
