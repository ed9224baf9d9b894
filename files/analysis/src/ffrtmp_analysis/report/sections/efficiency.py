"""Speed, CPU time, energy and cost against quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..chart import Axis, draw_curves
from ..document import Block, Paragraph, Section, Table, TableColumn
from ..run_data import (
    Document,
    RunData,
    encode_labels,
    place_text,
    point_label,
    quality_name,
    rows_by_place,
    series_label,
)
from .rate_distortion import PLOTS_MAX, POINT, REPEATS, SERIES, extremes_text, left_out

_KINDS = frozenset({"transcode", "ladder", "decode"})


@dataclass(frozen=True)
class _Quantity:
    """A quantity that is shown against quality."""

    name: str
    text: str
    heading: str
    better: str


_QUANTITIES = (
    _Quantity("speed", "Speed", "Speed (x real time)", "Higher is faster."),
    _Quantity("cpu_s", "CPU time", "CPU time (s)", "Lower needs less CPU time."),
    _Quantity(
        "energy_gross_j",
        "Energy",
        "Energy of the host's packages (J)",
        "Lower needs less energy.",
    ),
    _Quantity(
        "cost_per_video_hour",
        "Cost",
        "Cost of an hour of video",
        "Lower costs less.",
    ),
)


def efficiency_section(data: RunData) -> Section:
    """Return the section with a plot of each quantity against quality, for each source."""
    title = "Speed, energy and cost against quality"
    rows = [row for row in data.measured_rows if row["kind"] in _KINDS and row["rendition"] is None]
    if not rows:
        reason = data.empty_reason or "The run has no encodes of files."
        return Section("efficiency", title, [Paragraph(reason)])
    labels = encode_labels(data.measured_rows)
    places = rows_by_place(rows)
    blocks: list[Block] = []
    for quantity in _QUANTITIES:
        if all(row[quantity.name] is None for row in rows):
            blocks.append(Paragraph(_missing_reason(data, quantity)))
            continue
        for place, members in list(places.items())[:PLOTS_MAX]:
            blocks += _blocks(data, quantity, place_text(place, places), members, labels)
    blocks += left_out(len(places))
    if any(row["is_estimate"] for row in rows):
        blocks.append(
            Paragraph(
                "Other jobs could run on some of the nodes, so that energy and cost include theirs."
            )
        )
    return Section("efficiency", title, blocks)


def _missing_reason(data: RunData, quantity: _Quantity) -> str:
    reasons = sorted(data.figure_reasons.get(quantity.name, {}))
    if reasons:
        return f"{quantity.text} is unavailable: {'; '.join(reasons)}."
    if quantity.name == "cost_per_video_hour":
        return "Cost is unavailable: the farm has no price book with prices for the nodes."
    return f"{quantity.text} was not measured."


def _blocks(
    data: RunData,
    quantity: _Quantity,
    where: str,
    rows: Sequence[Document],
    labels: dict[str, str],
) -> list[Block]:
    """Return the plot of the rows with a quality, and the table of the others."""
    name, quality = quality_name(data.measured_rows)
    currencies = sorted({str(row["currency"]) for row in rows if row["currency"]})
    is_cost = quantity.name.startswith("cost_")
    unit = f" ({', '.join(currencies)})" if is_cost and currencies else ""
    value = TableColumn("value", quantity.heading + unit, digits=3)
    low = TableColumn("low", "Low", digits=3)
    high = TableColumn("high", "High", digits=3)
    score = TableColumn("quality", f"{quality} (mean)", decimals=2)
    points = [_point(row, quantity, name, labels) for row in rows if row[quantity.name] is not None]
    points.sort(key=lambda point: (point["series"], point["quality"] or 0.0, point["point"]))
    has_intervals = any(point["low"] is not None for point in points)
    interval = (low, high) if has_intervals else ()
    # Amounts in different currencies have no common axis.
    shown = [
        point
        for point in points
        if point["quality"] is not None and len(currencies) < 2  # noqa: PLR2004
    ]
    blocks: list[Block] = []
    rest = [point for point in points if point not in shown]
    if rest:
        columns = (SERIES, POINT, value, *interval, score, REPEATS)
        blocks.append(Table(f"{quantity.text} without a chart, {where}", columns, rest))
    if not shown:
        return blocks
    table = Table(
        f"{quantity.text} and {quality}, {where}",
        (SERIES, POINT, score, value, *interval, REPEATS),
        shown,
    )
    bars = " Vertical lines are 95 % intervals of the medians." if has_intervals else ""
    caption = (
        f"{quantity.text} against {quality}, {where}. {quantity.better} "
        f"{extremes_text(shown, value)}{bars}"
    )
    axis = Axis(value, may_be_logarithmic=True, low="low", high="high")
    return [draw_curves(caption, table, Axis(score), axis, SERIES), *blocks]


def _point(
    row: Document, quantity: _Quantity, quality: str, labels: dict[str, str]
) -> dict[str, Any]:
    if quantity.name == "speed":
        low, high = row["speed_low"], row["speed_high"]
    else:
        low, high = row["ranges"].get(quantity.name) or (None, None)
    return {
        "series": series_label(row, labels),
        "point": point_label(row),
        "quality": row[quality],
        "value": row[quantity.name],
        "low": low,
        "high": high,
        "n": row["n"],
    }
