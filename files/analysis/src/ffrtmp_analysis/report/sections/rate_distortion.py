"""Rate-distortion: quality over bit rate."""

from __future__ import annotations

from collections.abc import Sequence
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

PLOTS_MAX = 8
"""The number of sources, nodes and builds of which a section shows plots."""

SERIES = TableColumn("series", "Encode")
POINT = TableColumn("point", "Rate point")
REPEATS = TableColumn("n", "Repeats", decimals=0)
_BIT_RATE = TableColumn("bit_rate", "Bit rate (kbit/s)", decimals=0)


def rate_distortion_section(data: RunData) -> Section:
    """Return the section with a plot of quality over bit rate for each source."""
    title = "Rate-distortion"
    name, quality = quality_name(data.measured_rows)
    rows = [
        row
        for row in data.measured_rows
        if row["video_bitrate_kbps"] and row[name] is not None and row["kind"] != "density"
    ]
    if not rows:
        return Section("rate-distortion", title, [Paragraph(_missing_reason(data))])
    labels = encode_labels(data.measured_rows)
    places = rows_by_place(rows)
    blocks: list[Block] = []
    for place, members in list(places.items())[:PLOTS_MAX]:
        column = TableColumn("quality", f"{quality} (mean)", decimals=2)
        table = Table(
            f"Bit rate and {quality}, {place_text(place, places)}",
            (SERIES, POINT, _BIT_RATE, column, REPEATS),
            _point_rows(members, name, labels),
        )
        caption = (
            f"{quality} over bit rate, {place_text(place, places)}. A curve that is higher or "
            "further left needs fewer bits for the same quality. Points are medians over the "
            "repeats."
        )
        blocks.append(
            draw_curves(
                caption, table, Axis(_BIT_RATE, may_be_logarithmic=True), Axis(column), SERIES
            )
        )
    blocks += left_out(len(places))
    missing = sorted(
        {f"{series_label(row, labels)} {point_label(row)}" for row in _without_quality(data, name)}
    )
    if missing:
        blocks.append(
            Paragraph(
                f"Without points, because their {quality} is unavailable: {', '.join(missing)}."
            )
        )
    return Section("rate-distortion", title, blocks)


def left_out(place_count: int) -> list[Block]:
    """Return a paragraph if there are more sources, nodes and builds than plots."""
    if place_count <= PLOTS_MAX:
        return []
    return [
        Paragraph(
            f"{place_count - PLOTS_MAX} more combinations of source, node and FFmpeg build have no "
            "plot here; results.csv contains their values."
        )
    ]


def extremes_text(points: Sequence[Document], column: TableColumn) -> str:
    """Return a sentence with the highest and the lowest value of a plot.

    Args:
        points: The rows of the plot, each with a series and a rate point.
        column: The column of the values.
    """
    if len(points) < 2:  # noqa: PLR2004 - one value has no range
        return ""

    def named(point: Document) -> str:
        return " ".join(filter(None, (point["series"], point["point"], column.cell(point))))

    highest = max(points, key=lambda point: point[column.name])
    lowest = min(points, key=lambda point: point[column.name])
    return f"Highest: {named(highest)}; lowest: {named(lowest)}."


def _missing_reason(data: RunData) -> str:
    if data.empty_reason:
        return data.empty_reason
    reasons = sorted(data.figure_reasons.get("vmaf_mean", {}))
    if reasons:
        return f"The run has no quality: {'; '.join(reasons)}."
    return "The run has no encode whose bit rate and quality were both measured."


def _without_quality(data: RunData, name: str) -> list[Document]:
    return [
        row
        for row in data.measured_rows
        if row["kind"] == "transcode" and row["video_bitrate_kbps"] and row[name] is None
    ]


def _point_rows(
    rows: Sequence[Document], quality: str, labels: dict[str, str]
) -> list[dict[str, Any]]:
    points = [
        {
            "series": series_label(row, labels),
            "point": point_label(row),
            "bit_rate": row["video_bitrate_kbps"],
            "quality": row[quality],
            "n": row["n"],
        }
        for row in rows
    ]
    return sorted(points, key=lambda point: (point["series"], point["bit_rate"]))
