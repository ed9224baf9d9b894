"""Rate-distortion: quality over bit rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..chart import Axis, draw_curves
from ..document import Block, Paragraph, Section, Table, TableColumn
from ..run_data import (
    Document,
    RateTables,
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

_PAIRS_MAX = 60
_TARGETS = (80, 90, 95)
_COSTS = (
    TableColumn("time_ratio", "Time (%)", decimals=1),
    TableColumn("cpu_s", "CPU time (%)", decimals=1),
    TableColumn("energy_gross_j", "Energy (%)", decimals=1),
    TableColumn("cost_per_video_hour", "Cost (%)", decimals=1),
)

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
    return Section("rate-distortion", title, [*blocks, *_rate_blocks(data.rates)])


def _rate_blocks(rates: RateTables) -> list[Block]:
    """Return the tables of differences, of bit rates at qualities, and of hulls over sizes."""
    place = (
        TableColumn("source", "Source"),
        TableColumn("node", "Node"),
        TableColumn("ffmpeg", "FFmpeg (SHA-256)"),
    )
    reason = TableColumn("reason", "Reason for missing figures")
    blocks: list[Block] = []
    if rates.differences:
        columns = (
            TableColumn("tested", "Encode"),
            TableColumn("reference", "Compared with"),
            *_varying(place, rates.differences),
            TableColumn("rate", "Bit rate (%)", decimals=1),
            TableColumn("interpolation", "Range by interpolation (%)"),
            TableColumn("repeats", "95 % interval by repeats (%)"),
            TableColumn("check", "Bit rate with Akima (%)", decimals=1),
            TableColumn("quality", f"{rates.quality} at equal bit rate (points)", decimals=2),
            *(
                column
                for column in _COSTS
                if any(row[column.name] is not None for row in rates.differences)
            ),
            TableColumn("overlap", "Common range (%)", decimals=0),
            reason,
        )
        rows = rates.differences[:_PAIRS_MAX]
        blocks.append(Table(f"Differences at equal {rates.quality}", columns, rows).varying)
        if len(rates.differences) > len(rows):
            blocks.append(
                Paragraph(f"{len(rates.differences) - len(rows)} more pairs are not shown.")
            )
    if rates.targets:
        columns = (
            TableColumn("encode", "Encode"),
            *_varying(place, rates.targets),
            *(
                TableColumn(f"at_{target}", f"Bit rate at {rates.quality} {target} (kbit/s)", 0)
                for target in _TARGETS
            ),
            reason,
        )
        blocks.append(Table(f"Bit rates at equal {rates.quality}", columns, rates.targets).varying)
    if rates.hulls:
        columns = (
            TableColumn("encode", "Encode"),
            *_varying(place, rates.hulls),
            TableColumn("sizes", "Sizes on the hull"),
            TableColumn("points", "Points on the hull"),
            reason,
        )
        blocks.append(Table("Convex hull over sizes", columns, rates.hulls).varying)
    return blocks


def _varying(columns: Sequence[TableColumn], rows: Sequence[Document]) -> list[TableColumn]:
    """Return the columns with different values."""
    return [column for column in columns if len({row[column.name] for row in rows}) > 1]


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
