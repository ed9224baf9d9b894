"""Table of the results of a run as text that fits into a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from .findings import find_statements
from .legend import Reasons, legend_lines
from .row_order import in_table_order
from .table_columns import (
    NONE,
    Column,
    Row,
    build_names,
    figure_columns,
    name_columns,
)

COLUMNS = 112
"""Maximum length of a line, which fits into 120 columns after a debug task indents it by 8."""

CONTROL = "control"
"""The source of control encodes, which the table shows only as the drift of their node."""

_GAP = "  "
_LEAST_NAME_COLUMNS = 14
_LEAST_NOTE_COLUMNS = 28
_INDENT = "    "
_NO_BREAK = "\N{NO-BREAK SPACE}"
_ENCODE_HEADINGS = ("kind", "encode", "encoder", "preset", "size", "frames/s", "threads", "pixels")
_UNREMARKABLE = {"kind": "transcode", "pixels": "yuv420p", "frames/s": None}
"""Properties that all rows share and that are not worth mentioning, with their values; None stands
for any value."""


@dataclass(frozen=True)
class Remarks:
    """Additions of the table to its rows.

    `title` names the run. `drifts` are changes in the speed of the control encodes, one for each
    node. `reasons` and `details` explain figures that are unavailable and reasons for verdicts; see
    `legend`.
    """

    title: str = ""
    drifts: Sequence[Mapping[str, Any]] = ()
    reasons: Reasons = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)


def render(rows: Sequence[Row], remarks: Remarks | None = None, columns: int = COLUMNS) -> str:
    """Return the table as text.

    Args:
        rows: Medians, as `median_rows` returns them.
        remarks: What the table adds to its rows.
        columns: Maximum line length.

    Returns:
        Lines without trailing spaces. Properties that all rows share come first, then the rows, a
        legend of their marks, the drifts, and statements that the intervals support.
    """
    remarks = remarks or Remarks()
    title = textwrap.wrap(remarks.title, columns)
    rows = in_table_order([row for row in rows if row["source"] != CONTROL])
    if not rows:
        return "\n".join([*title, "There are no results.", *_drift_lines(remarks)])
    names = name_columns(rows)
    varying = [column for column in names if len(set(column.cells)) > 1]
    figures, repeats = figure_columns(rows, _hidden(rows)), _repeats(rows)
    notes = Column("notes", _notes(rows))
    first = [_summary(rows), *_common(names, varying)]
    if len(set(repeats.cells)) > 1:
        figures.append(repeats)
    lines = [*title, *_wrap_items(first, columns)]
    legend = []
    if (
        len(rows) > 1
        and len({note for note in notes.cells if note}) == 1
        and all(note or row["rendition"] for note, row in zip(notes.cells, rows, strict=True))
    ):
        legend.append(f"All rows: {next(filter(None, notes.cells))}")
        notes = Column("notes", ("",) * len(rows))
    lines += _body(varying, figures, notes, columns)
    legend += legend_lines(rows, remarks.reasons, remarks.details, _interesting(rows))
    legend += _drift_lines(remarks)
    statements = find_statements(rows, _dimensions(rows, varying))
    for text in (*legend, *statements):
        lines += textwrap.wrap(text, columns)
    return "\n".join(line.rstrip() for line in lines)


def find_findings(rows: Sequence[Row]) -> list[str]:
    """Return the statements below the table, each as one line.

    Args:
        rows: Medians, as `median_rows` returns them.
    """
    ordered = in_table_order([row for row in rows if row["source"] != CONTROL])
    if not ordered:
        return []
    varying = [column for column in name_columns(ordered) if len(set(column.cells)) > 1]
    return find_statements(ordered, _dimensions(ordered, varying))


def _wrap_items(items: Sequence[str], columns: int) -> list[str]:
    """Return lines with items that are separated by commas. No line breaks within an item."""
    joined = ", ".join(item.replace(" ", _NO_BREAK) for item in items)
    return [line.replace(_NO_BREAK, " ") for line in textwrap.wrap(joined, columns)]


def _summary(rows: Sequence[Row]) -> str:
    """Return the first words of the table, which state the number of repeats if it is the same."""
    counts = {row["n"] for row in rows}
    if len(counts) > 1:
        return "Medians over the repeats of each row"
    (count,) = counts
    return f"Medians of {count} repeats" if count != 1 else "One measurement of each row"


def _common(names: Sequence[Column], varying: Sequence[Column]) -> list[str]:
    """Return the properties that all rows share."""
    return [
        f"{column.heading}: {column.cells[0]}"
        for column in names
        if column not in varying
        and column.cells[0] != NONE
        and (
            column.heading not in _UNREMARKABLE
            or _UNREMARKABLE[column.heading] not in (column.cells[0], None)
        )
    ]


def _compares_encoders(rows: Sequence[Row]) -> bool:
    return len({row["encoder"] for row in rows if row["encoder"]}) > 1


def _hidden(rows: Sequence[Row]) -> set[str]:
    """Return the figures that do not answer what the run asks.

    VMAF NEG, which does not reward enhancement, compares encoders. VMAF describes one encoder, and
    is also shown if it was requested.
    """
    has_neg = any(row["vmaf_neg_mean"] is not None for row in rows)
    if not (_compares_encoders(rows) and has_neg):
        return {"vmaf_neg_mean"}
    is_target = any(row["rate_control"] == "vmaf" for row in rows)
    return set() if is_target else {"vmaf_mean"}


def _interesting(rows: Sequence[Row]) -> list[str]:
    """Return the figures whose absence is explained."""
    has_quality = any(row["vmaf_mean"] is not None for row in rows)
    quality = "vmaf_neg_mean" if _compares_encoders(rows) and has_quality else "vmaf_mean"
    return [quality, "energy_gross_j", "cost_per_video_hour", "cost_per_stream_hour"]


def _dimensions(rows: Sequence[Row], varying: Sequence[Column]) -> dict[str, Sequence[str]]:
    """Return the names of each row by the dimensions in which rows are compared."""
    shown = [column.cells for column in varying if column.heading in _ENCODE_HEADINGS]
    encodes = [
        " ".join(cells[number] for cells in shown if cells[number] != NONE) or row["encode"]
        for number, row in enumerate(rows)
    ]
    return {
        "encode": encodes,
        "FFmpeg": build_names(rows),
        "node": [row["node"] for row in rows],
    }


def _repeats(rows: Sequence[Row]) -> Column:
    return Column("repeats", tuple(str(row["n"]) for row in rows), is_figure=True)


def _drift_lines(remarks: Remarks) -> list[str]:
    return [
        f"{drift['node']}: control encode {drift['first_speed']:.2f} x real time at first, "
        f"{drift['last_speed']:.2f} x at last ({(drift['ratio'] - 1) * 100:+.1f} %)"
        f"{_unusual_text(drift)}"
        for drift in remarks.drifts
        if drift["ratio"] is not None
    ]


def _unusual_text(drift: Mapping[str, Any]) -> str:
    """Return the usual range of a node that has left it, or an empty text."""
    if not drift.get("is_unusual"):
        return ""
    return f"; usual are {drift['low']:.2f} to {drift['high']:.2f} x, so its results are degraded"


def _notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the notes of each row. The notes on a ladder are only in the row of the ladder."""
    return tuple("" if row["rendition"] else _note(row) for row in rows)


def _note(row: Row) -> str:
    notes = []
    if row["state"] == "unstable":
        notes.append("wide interval")
    if row["is_estimate"]:
        notes.append("estimate")
    if row["n_degraded"]:
        notes.append(
            _verdict_text(row["n_degraded"], row["n"], "degraded", row["degraded_reasons"])
        )
    if row["n_invalid"]:
        count = row["n"] + row["n_invalid"]
        notes.append(_verdict_text(row["n_invalid"], count, "invalid", row["invalid_reasons"]))
    return "; ".join(notes)


def _verdict_text(count: int, total: int, verdict: str, reasons: Sequence[str]) -> str:
    text = f"{count} of {total} {verdict}"
    return f"{text}: {', '.join(reasons)}" if reasons else text


def shorten(text: str, width: int) -> str:
    """Return `text` in at most `width` columns, shortened in the middle if necessary."""
    if len(text) <= width:
        return text
    left = (width - 2 + 1) // 2
    return text[:left] + ".." + text[len(text) - (width - 2 - left) :]


def _body(names: list[Column], figures: list[Column], notes: Column, columns: int) -> list[str]:
    """Return the lines of the headings and of the rows.

    If a column of names does not fit next to the figures, even if the names are shortened, the
    names become headings of groups of rows instead. If there is not enough space for the notes,
    they follow their rows as separate lines.
    """
    gap = len(_GAP)
    rest = columns - sum(figure.width + gap for figure in figures)
    names, grouped = list(names), list[Column]()
    while names:
        widths = _widths([name.width for name in names], rest - gap * len(names))
        unclear = _unclear(names, widths)
        if unclear is None:
            break
        grouped.append(names.pop(unclear))
    widths = _widths([name.width for name in names], rest - gap * len(names))
    rest -= sum(widths) + gap * len(names)
    table = [*names, *figures]
    widths += [figure.width for figure in figures]
    if any(notes.cells) and rest >= min(notes.width, _LEAST_NOTE_COLUMNS):
        table.append(notes)
        widths.append(min(notes.width, rest))
    lines = _heading_lines(table, widths)
    count = len(notes.cells)
    labels = [
        ", ".join(f"{column.heading}: {column.cells[number].strip()}" for column in grouped)
        for number in range(count)
    ]
    for label, numbers in groupby(range(count), key=labels.__getitem__):
        lines += textwrap.wrap(label, columns)
        for number in numbers:
            lines += _row_lines(table, widths, number)
            if notes not in table and notes.cells[number]:
                text = f"note: {notes.cells[number]}"
                lines += textwrap.wrap(
                    text, columns, initial_indent=_INDENT, subsequent_indent=_INDENT
                )
    return lines


def _unclear(names: Sequence[Column], widths: Sequence[int]) -> int | None:
    """Return the index of the first column whose names cannot be read or distinguished, or None."""
    for at, (name, width) in enumerate(zip(names, widths, strict=True)):
        shortened = {shorten(cell, width) for cell in name.cells}
        if width < min(name.width, _LEAST_NAME_COLUMNS) or len(shortened) < len(set(name.cells)):
            return at
    return None


def _widths(wanted: list[int], available: int) -> list[int]:
    """Return widths that fit into `available`. The widest columns are narrowed first."""
    widths = list(wanted)
    while widths and sum(widths) > available and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def _heading_lines(table: Sequence[Column], widths: Sequence[int]) -> list[str]:
    headings = [column.heading.splitlines() for column in table]
    return [
        _line(table, widths, [lines[at].rstrip() if at < len(lines) else "" for lines in headings])
        for at in range(max(map(len, headings)))
    ]


def _row_lines(table: Sequence[Column], widths: Sequence[int], number: int) -> list[str]:
    """Return the lines of a row. There are several if its notes are wrapped."""
    cells, continuation = [], []
    for column, width in zip(table, widths, strict=True):
        text = column.cells[number]
        if column.heading == "notes":
            text, *continuation = textwrap.wrap(text, width) or [""]
        cells.append(text)
    indent = " " * (sum(widths[:-1]) + len(_GAP) * (len(widths) - 1))
    return [_line(table, widths, cells), *(indent + line for line in continuation)]


def _line(table: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    return _GAP.join(
        shorten(cell, width).rjust(width) if column.is_figure else shorten(cell, width).ljust(width)
        for column, width, cell in zip(table, widths, cells, strict=True)
    ).rstrip()
