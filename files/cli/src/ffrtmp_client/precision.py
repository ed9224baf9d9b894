"""Progress of a run whose suite requests a precision, from the master's precision report."""

from __future__ import annotations

import math
from typing import Any

Json = dict[str, Any]


def precision_progress(report: Json) -> Json | None:
    """Summarize a precision report.

    Args:
        report: The response of `/v1/runs/{run_id}/precision`.

    Returns:
        None if the suite requests no precision. Otherwise `requested`, the requested half width of
        the intervals as a fraction of the median; the numbers of `medians` and of those that are
        `precise`; and `least_precise`, the open median with the widest interval, or None if no
        median is open.
    """
    medians = report["medians"]
    if not report["looks"] or not medians:
        return None
    open_medians = [median for median in medians if median["state"] == "open"]
    widest = max(open_medians, key=_order, default=None)
    return {
        "requested": report["interval"],
        "medians": len(medians),
        "precise": sum(median["state"] == "precise" for median in medians),
        "least_precise": None if widest is None else _described(widest),
    }


def precision_text(progress: Json) -> str:
    """Return the summary of a precision report as text without a line feed."""
    requested = _percent(progress["requested"])
    widest, parts = progress["least_precise"], []
    if progress["medians"] > 1 or widest is None:
        parts.append(f"{progress['precise']} of {progress['medians']} medians precise")
    if widest is not None:
        place = f"{widest['node']} {widest['scenario']} " if progress["medians"] > 1 else ""
        width = "not known yet" if widest["interval"] is None else _percent(widest["interval"])
        repeat = f"repeat {widest['repeats']}, interval {width} (requested {requested})"
        parts.append(place + repeat)
    return ", ".join(parts)


def _described(median: Json) -> Json:
    return {
        "node": median["node"],
        "scenario": median["scenario"],
        "repeats": median["n"] + median["n_invalid"],
        "interval": _half_width(median),
    }


def _half_width(median: Json) -> float | None:
    """Return half the width of the interval as a fraction of the median, if it is known."""
    if median["low"] is None or median["high"] is None or not median["speed"]:
        return None
    return float((median["high"] - median["low"]) / 2 / median["speed"])


def _order(median: Json) -> tuple[float, int, str, str]:
    width = _half_width(median)
    return (math.inf if width is None else width, -median["n"], median["node"], median["scenario"])


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2g} %" if ratio < 1 else f"{100 * ratio:.0f} %"
