"""Table of the results of a run as text that fits into a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Row = Mapping[str, Any]

COLUMNS = 112
"""Maximum length of a line, which fits into 120 columns after a debug task indents it by 8."""

_GAP = "  "
_LEAST_NAME_COLUMNS = 14
_LEAST_NOTE_COLUMNS = 28
_INDENT = "    "


@dataclass(frozen=True)
class _Column:
    """A column with a heading of one or more lines, and one cell for each row.

    Names may be shortened in the middle. Notes are wrapped. Figures are never shortened.
    """

    heading: str
    cells: tuple[str, ...]
    is_figure: bool = False

    @property
    def width(self) -> int:
        """Length of the longest cell or line of the heading."""
        return max(len(text) for text in (*self.cells, *self.heading.splitlines()))


@dataclass(frozen=True)
class _Figure:
    """A figure of a row, and the format of its cell.

    `is_shared` means that the figure in the row of a ladder also covers its renditions.
    `is_special` means that only some kinds of jobs have the figure. In both cases, a missing figure
    leaves the cell empty. Other missing figures are shown as n/a.
    """

    name: str
    heading: str
    form: str
    is_shared: bool = False
    is_special: bool = False

    def cell(self, row: Row) -> str:
        """Return the text of the cell in a row."""
        value = _interval_percent(row) if self.name == "interval" else row[self.name]
        if value is not None:
            return self.form.format(value)
        is_empty = self.is_special or (self.is_shared and row["rendition"])
        return "" if is_empty else "n/a"


_FIGURES = (
    _Figure("speed", "speed\nx real\ntime", "{:.2f}", is_shared=True),
    _Figure("interval", "95 %\ninterval\n+- %", "{:.1f}", is_special=True),
    _Figure("video_bitrate_kbps", "bit rate\nkbit/s", "{:.0f}"),
    _Figure("vmaf_mean", "VMAF\nmean", "{:.2f}"),
    _Figure("cpu_s", "CPU time\ns", "{:.2f}", is_shared=True),
    _Figure("energy_gross_j", "energy\nJ", "{:.1f}", is_shared=True),
    _Figure("streams", "real-time\nstreams", "{:g}", is_special=True),
    _Figure(
        "cost_per_stream_hour", "cost {currency}\nper hour\nof stream", "{:.4f}", is_special=True
    ),
    _Figure("lag_p95_s", "lag p95\ns", "{:.2f}", is_special=True),
)
_UNAVAILABLE = {
    "energy_gross_j": "Energy",
    "vmaf_mean": "VMAF",
    "cost_per_stream_hour": "Cost",
}


def render(
    rows: Sequence[Row],
    drifts: Iterable[Mapping[str, Any]] = (),
    reasons: Mapping[str, Sequence[str]] | None = None,
    columns: int = COLUMNS,
) -> str:
    """Return the table as text.

    Args:
        rows: Medians, as `results.table` returns them.
        drifts: Changes in the speed of the control encodes, one for each node.
        reasons: Reasons why figures are unavailable, as `results.unavailable_reasons` returns them.
        columns: Maximum line length.

    Returns:
        Lines without trailing spaces. Properties that all rows share come first, then the rows,
        then the drifts and the figures that are unavailable in all rows.
    """
    if not rows:
        return "There are no results."
    names = _names(rows)
    varying = [column for column in names if len(set(column.cells)) > 1]
    common = [f"{name.heading}: {name.cells[0]}" for name in names if name not in varying]
    first = "Medians over the repeats of each row. " + ", ".join(
        text for text in common if not text.endswith(": -")
    )
    lines = textwrap.wrap(first, columns)
    lines += _body(varying, _figures(rows), _Column("notes", _notes(rows)), columns)
    lines += [
        f"{drift['node']}: control encode {drift['first_speed']:.2f} x real time at first, "
        f"{drift['last_speed']:.2f} x at last ({(drift['ratio'] - 1) * 100:+.1f} %)"
        for drift in drifts
        if drift["ratio"] is not None
    ]
    for name, label in _UNAVAILABLE.items():
        if (reasons or {}).get(name) and all(row[name] is None for row in rows):
            text = "; ".join((reasons or {})[name])
            lines += textwrap.wrap(f"{label} is unavailable: {text}", columns)
    return "\n".join(line.rstrip() for line in lines)


def shorten(text: str, width: int) -> str:
    """Return `text` in at most `width` columns, shortened in the middle if necessary."""
    if len(text) <= width:
        return text
    left = (width - 2 + 1) // 2
    return text[:left] + ".." + text[len(text) - (width - 2 - left) :]


def _names(rows: Sequence[Row]) -> list[_Column]:
    """Return a column for each property that identifies a row."""
    digests: dict[str, set[str]] = {}
    for row in rows:
        digests.setdefault(row["ffmpeg_version"], set()).add(row["ffmpeg_sha256"])

    def build(row: Row) -> str:
        if row["ffmpeg"]:
            return str(row["ffmpeg"])
        version = str(row["ffmpeg_version"])
        # Builds with the same version are distinguished by their digests.
        is_ambiguous = len(digests[row["ffmpeg_version"]]) > 1
        return f"{version}@{row['ffmpeg_sha256'][:8]}" if is_ambiguous else version

    cells: dict[str, Callable[[Row], str]] = {
        "node": lambda row: row["node"],
        "source": lambda row: row["source"],
        "encode": lambda row: f"  {row['rendition']}" if row["rendition"] else row["encode"],
        "rate point": lambda row: row["rate_point"] or "-",
        "FFmpeg": build,
    }
    return [_Column(name, tuple(map(cell, rows))) for name, cell in cells.items()]


def _figures(rows: Sequence[Row]) -> list[_Column]:
    """Return a column for each figure that is available in at least one row."""
    currencies = {row["currency"] for row in rows} - {None}
    columns = []
    for figure in _FIGURES:
        cells = tuple(figure.cell(row) for row in rows)
        if figure.name == "cost_per_stream_hour" and len(currencies) > 1:
            cells = tuple(
                f"{cell} {row['currency']}" if cell else ""
                for cell, row in zip(cells, rows, strict=True)
            )
        if not set(cells) <= {"", "n/a"}:
            currency = currencies.copy().pop() if len(currencies) == 1 else ""
            heading = figure.heading.format(currency=currency)
            columns.append(_Column(heading, cells, is_figure=True))
    return [*columns, _Column("repeats", tuple(str(row["n"]) for row in rows), is_figure=True)]


def _notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the notes of each row. The notes on a ladder are only in the row of the ladder."""
    return tuple("" if row["rendition"] else _note(row) for row in rows)


def _note(row: Row) -> str:
    notes = []
    if row["state"] == "unstable":
        notes.append("interval wider than requested")
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


def _interval_percent(row: Row) -> float | None:
    """Return half the width of the interval of the speed, in percent of the speed."""
    if row["speed_low"] is None or not row["speed"]:
        return None
    return float((row["speed_high"] - row["speed_low"]) / row["speed"] * 50)


def _body(names: list[_Column], figures: list[_Column], notes: _Column, columns: int) -> list[str]:
    """Return the lines of the headings and of the rows.

    If a column of names does not fit next to the figures, even if the names are shortened, the
    names become headings of groups of rows instead. If there is not enough space for the notes,
    they follow their rows as separate lines.
    """
    gap = len(_GAP)
    rest = columns - sum(figure.width + gap for figure in figures)
    names, grouped = list(names), list[_Column]()
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


def _unclear(names: Sequence[_Column], widths: Sequence[int]) -> int | None:
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


def _heading_lines(table: Sequence[_Column], widths: Sequence[int]) -> list[str]:
    headings = [column.heading.splitlines() for column in table]
    return [
        _line(table, widths, [lines[at].rstrip() if at < len(lines) else "" for lines in headings])
        for at in range(max(map(len, headings)))
    ]


def _row_lines(table: Sequence[_Column], widths: Sequence[int], number: int) -> list[str]:
    """Return the lines of a row. There are several if its notes are wrapped."""
    cells, continuation = [], []
    for column, width in zip(table, widths, strict=True):
        text = column.cells[number]
        if column.heading == "notes":
            text, *continuation = textwrap.wrap(text, width) or [""]
        cells.append(text)
    indent = " " * (sum(widths[:-1]) + len(_GAP) * (len(widths) - 1))
    return [_line(table, widths, cells), *(indent + line for line in continuation)]


def _line(table: Sequence[_Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    return _GAP.join(
        shorten(cell, width).rjust(width) if column.is_figure else shorten(cell, width).ljust(width)
        for column, width, cell in zip(table, widths, cells, strict=True)
    ).rstrip()
