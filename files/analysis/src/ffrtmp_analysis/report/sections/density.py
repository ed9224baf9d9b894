"""Density: the number of streams that a node encodes in real time."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

from ..chart import Axis, draw_bars
from ..document import Block, Paragraph, Section, Table, TableColumn
from ..run_data import Document, RunData, encode_labels, measured, series_label, verdict_of

_SLOT = TableColumn("name", "Encode")


def density_section(data: RunData) -> Section:
    """Return the section with the streams in real time of each encode and node."""
    title = "Density: streams in real time"
    rows = [row for row in data.measured_rows if row["streams"] is not None]
    if not rows:
        reason = data.empty_reason or "The suite contains no scenario of the kind density."
        return Section("density", title, [Paragraph(reason)])
    labels = encode_labels(data.measured_rows)
    streams = TableColumn("streams", "Streams in real time", decimals=0)
    entries = [_entry(row, data, labels) for row in rows]
    currencies = {str(row["currency"]) for row in rows if row["currency"]}
    unit = f" ({', '.join(sorted(currencies))})" if currencies else ""
    columns = [
        _SLOT,
        TableColumn("source", "Source"),
        TableColumn("node", "Node"),
        TableColumn("ffmpeg", "FFmpeg"),
        streams,
        TableColumn("limit", "Exhausted resource"),
    ]
    if any(entry["watts"] is not None for entry in entries):
        columns.append(TableColumn("watts", "Power per stream (W)", digits=3))
    if any(entry["cost"] is not None for entry in entries):
        columns.append(TableColumn("cost", f"Cost per hour of stream{unit}", digits=3))
    columns.append(TableColumn("n", "Repeats", decimals=0))
    table = Table("Streams in real time", columns, _unique_names(entries))
    caption = (
        "Streams that kept up with real time together on one node. Bars are medians over the "
        "repeats."
    )
    blocks: list[Block] = [draw_bars(caption, table, _SLOT, Axis(streams, has_zero=True))]
    if all(entry["watts"] is None for entry in entries):
        blocks.append(Paragraph("The power per stream was not measured."))
    return Section("density", title, blocks)


def _entry(row: Document, data: RunData, labels: dict[str, str]) -> dict[str, Any]:
    found = [
        result["measurement"]["density"]
        for result in data.scenario_results
        if _belongs_to(result, row)
    ]
    watts = [value for each in found if (value := measured(each["watts_per_stream"])) is not None]
    limits = Counter(each["limit"] or "none: the search reached its maximum" for each in found)
    return {
        "name": " ".join(filter(None, (series_label(row, labels), row["rate_point"]))),
        "source": row["source"],
        "node": row["node"],
        "ffmpeg": str(row["ffmpeg"] or row["ffmpeg_version"]),
        "streams": row["streams"],
        "limit": ", ".join(sorted(limits)),
        "watts": median(watts) if watts else None,
        "cost": row["cost_per_stream_hour"],
        "n": row["n"],
    }


def _belongs_to(result: Document, row: Document) -> bool:
    """Return whether a result is a repeat of a row of a density."""
    measurement = result["measurement"]
    return (
        result["node"] == row["node"]
        and result["scenario"]["kind"] == "density"
        # The name is SOURCE/ENCODE/RATE, which the name of an FFmpeg build may follow.
        and result["scenario"]["name"].split("/")[:3]
        == [row["source"], row["encode"], row["rate_point"]]
        and measurement["provenance"]["ffmpeg"]["sha256"] == row["ffmpeg_sha256"]
        and measurement.get("density") is not None
        and verdict_of(result)[0] != "invalid"
    )


def _unique_names(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return entries whose names contain what distinguishes them, so that each has its own bar."""
    for more in ("node", "source", "ffmpeg"):
        names = Counter(entry["name"] for entry in entries)
        values = {entry[more] for entry in entries}
        if len(values) > 1 and max(names.values()) > 1:
            entries = [{**entry, "name": f"{entry['name']}, {entry[more]}"} for entry in entries]
    return entries
