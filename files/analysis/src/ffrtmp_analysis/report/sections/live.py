"""Lag of live streams."""

from __future__ import annotations

from statistics import median
from typing import Any

from ..chart import Axis, draw_dots
from ..document import Block, Paragraph, Section, Table, TableColumn
from ..run_data import Document, RunData, encode_labels, measured, series_label, verdict_of

_PERCENTILES = (("p50", "median"), ("p95", "95 %"), ("p99", "99 %"), ("max", "maximum"))
_MEASURES = (("lag", "Encoder"), ("end_to_end", "End to end"))
_NAME = TableColumn("name", "Stream")
_PERCENTILE = TableColumn("percentile", "Percentile")


def live_section(data: RunData) -> Section:
    """Return the section with the percentiles of the lag of each live stream."""
    title = "Live lag"
    lives: dict[tuple[str, str, str], list[Document]] = {}
    for result in data.scenario_results:
        if result["measurement"].get("live") and verdict_of(result)[0] != "invalid":
            digest = result["measurement"]["provenance"]["ffmpeg"]["sha256"]
            key = (result["node"], result["scenario"]["name"], digest)
            lives.setdefault(key, []).append(result)
    if not lives:
        reason = data.empty_reason or "The suite contains no scenario of the kind live."
        has_invalid = any(result["measurement"].get("live") for result in data.scenario_results)
        if has_invalid:
            reason = "All results of live streams are invalid, so that none of their values counts."
        return Section("live", title, [Paragraph(reason)])
    labels = encode_labels(data.measured_rows)
    blocks: list[Block] = []
    for prefix, heading in _MEASURES:
        lag = TableColumn("lag", f"{heading} lag (s)", digits=3)
        rows = _rows(lives, prefix, labels)
        if not rows:
            blocks.append(Paragraph(f"{heading} lag was not measured."))
            continue
        columns = (_NAME, _PERCENTILE, lag, TableColumn("n", "Repeats", decimals=0))
        caption = (
            f"{heading} lag of live streams. Each point is the median over the repeats of a "
            "percentile over the stream."
        )
        table = Table(f"{heading} lag", columns, rows)
        blocks.append(draw_dots(caption, table, _NAME, Axis(lag, has_zero=True), _PERCENTILE))
    blocks.append(_continuity_table(lives, labels))
    return Section("live", title, blocks)


def _name(key: tuple[str, str, str], labels: dict[str, str], keys: Any) -> str:
    """Return the name of a stream, with its node and build if these vary."""
    node, scenario, digest = key
    source, _, rest = scenario.partition("/")
    encode, _, rate = rest.partition("/")
    label = series_label({"encode": encode}, labels)
    parts = [f"{label} {rate}".strip()]
    known = list(keys)
    if len({each[1].partition("/")[0] for each in known}) > 1:
        parts.append(source)
    if len({each[0] for each in known}) > 1:
        parts.append(node)
    if len({each[2] for each in known}) > 1:
        parts.append(digest[:8])
    return ", ".join(parts)


def _rows(
    lives: dict[tuple[str, str, str], list[Document]], prefix: str, labels: dict[str, str]
) -> list[dict[str, Any]]:
    rows = []
    for key, results in sorted(lives.items()):
        for name, text in _PERCENTILES:
            values = [
                value
                for result in results
                if (value := measured(result["measurement"]["live"].get(f"{prefix}_{name}_s")))
                is not None
            ]
            if values:
                rows.append(
                    {
                        "name": _name(key, labels, lives),
                        "percentile": text,
                        "lag": median(values),
                        "n": len(values),
                    }
                )
    return rows


def _continuity_table(
    lives: dict[tuple[str, str, str], list[Document]], labels: dict[str, str]
) -> Table:
    names = ("stalls", "reconnects", "frames_lost", "below_real_time_s")
    rows = []
    for key, results in sorted(lives.items()):
        found = [result["measurement"]["live"] for result in results]
        rows.append(
            {
                "name": _name(key, labels, lives),
                **{name: max(float(live[name]) for live in found) for name in names},
                "n": len(found),
            }
        )
    columns = (
        _NAME,
        TableColumn("stalls", "Stalls", decimals=0),
        TableColumn("reconnects", "Reconnects", decimals=0),
        TableColumn("frames_lost", "Frames lost", decimals=0),
        TableColumn("below_real_time_s", "Below real time (s)", digits=3),
        TableColumn("n", "Repeats", decimals=0),
    )
    return Table("Continuity of the streams, highest value of all repeats", columns, rows)
