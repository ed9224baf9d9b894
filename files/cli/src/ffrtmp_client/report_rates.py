"""Rate-distortion figures of a run as rows of the tables of its report."""

from __future__ import annotations

from typing import Any

from .encode_curves import COSTS, Place, RunCurves
from .rate_distortion_summary import PairDifferences, RateDistortionSummary
from .report.run_data import RateTables

_PERCENT = 100.0


_DISTURBED = "speed, energy and cost: other load or steal degraded most repeats"


def rate_tables(summary: RateDistortionSummary, curves: RunCurves) -> RateTables:
    """Return the rows of the tables of differences, of bit rates at qualities, and of hulls.

    The first encode of a pair is the one that needs less bit rate. Relative differences are in
    percent. Figures that are unavailable are None, and the row states the reason.

    Args:
        summary: The figures of the run.
        curves: The curves from which they were computed.
    """
    return RateTables(
        quality=summary.quality,
        differences=[
            _difference_row(pair, source, curves) for pair in summary.pairs for source in pair.rates
        ],
        targets=[
            {
                **_place_values(each.place, each.source),
                "encode": each.encode,
                **{f"at_{target.quality:g}": target.value for target in each.targets},
                "reason": "; ".join(
                    dict.fromkeys(
                        target.reason.removeprefix(f"{each.encode}: ")
                        for target in each.targets
                        if target.reason
                    )
                ),
            }
            for each in summary.encodes
        ],
        hulls=[
            {
                **_place_values(each.place, each.source),
                "encode": each.configuration,
                "sizes": ", ".join(each.hull.sizes),
                "points": ", ".join(point.name for point in each.hull.curve.points),
                "reason": each.hull.curve.reason or "",
            }
            for each in summary.hulls
        ],
    )


def _place_values(place: Place, source: str) -> dict[str, Any]:
    return {"source": source, "node": place.node, "ffmpeg": f"{place.ffmpeg} ({place.sha256[:8]})"}


def _difference_row(pair: PairDifferences, source: str, curves: RunCurves) -> dict[str, Any]:
    found, of_quality = pair.rates[source], pair.qualities[source]
    quality = of_quality.value
    is_swapped = found.value is not None and found.value > 0
    names = (pair.reference, pair.tested) if is_swapped else (pair.tested, pair.reference)
    encodes = curves.curves[pair.place][source]
    is_disturbed = any(encodes[name].is_disturbed for name in names)
    reasons = [found.reason or ""]
    if of_quality.reason not in (None, found.reason):
        reasons.append(f"quality at equal bit rate: {of_quality.reason}")
    if is_disturbed:
        reasons.append(_DISTURBED)

    def percent(value: float | None) -> float | None:
        if value is None:
            return None
        return ((1 / (1 + value) if is_swapped else 1 + value) - 1) * _PERCENT

    def range_text(bounds: tuple[float, float] | None) -> str:
        if bounds is None:
            return ""
        low, high = sorted(percent(bound) or 0.0 for bound in bounds)
        return f"{low:.1f} to {high:.1f}"

    def cost(name: str) -> float | None:
        difference = pair.costs.get(name, {}).get(source)
        return None if difference is None or is_disturbed else percent(difference.value)

    interval = found.repeats
    repeats = ""
    if interval is not None and interval.is_deterministic:
        repeats = "equal output"
    elif interval is not None and interval.low is not None and interval.high is not None:
        repeats = range_text((interval.low, interval.high))
    elif interval is not None:
        repeats = interval.reason or ""
    return {
        **_place_values(pair.place, source),
        "tested": names[0],
        "reference": names[1],
        "rate": percent(found.value),
        "check": percent(found.check),
        "interpolation": range_text(found.interpolation),
        "repeats": repeats,
        "quality": -quality if is_swapped and quality is not None else quality,
        "overlap": None if found.overlap is None else found.overlap.ratio * _PERCENT,
        **{name: cost(name) for name in COSTS},
        "reason": "; ".join(filter(None, reasons)),
    }
