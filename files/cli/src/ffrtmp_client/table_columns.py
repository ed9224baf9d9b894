"""Columns of the table of results: those that distinguish its rows, and those with figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

NONE = "-"
"""The cell of a property that a row does not have."""

_FILE_KINDS = frozenset({"transcode", "ladder", "decode"})
_STREAM_KINDS = frozenset({"density", "live"})
_SHARED_SCALES = frozenset({"bitrate_kbps", "vmaf"})


@dataclass(frozen=True)
class Column:
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

    `kinds` are the kinds of jobs for which a missing figure is shown as n/a. For other kinds, and
    for renditions unless `is_of_renditions`, its cell is empty.
    """

    name: str
    heading: str
    form: str
    kinds: frozenset[str]
    is_of_renditions: bool = False

    def cell(self, row: Row) -> str:
        """Return the text of the cell in a row."""
        value = row[self.name]
        if self.name == "speed" and row["kind"] in _STREAM_KINDS:
            # The speed of a stream in real time is 1, whatever the host is capable of.
            return ""
        if value is not None:
            return self.form.format(value)
        return "n/a" if self.is_expected(row) else ""

    def is_expected(self, row: Row) -> bool:
        """Return whether a row has the figure, unless it is unavailable."""
        if row["n"] == 0:
            return False
        if row["rendition"] is not None:
            return self.is_of_renditions
        # The quality of a ladder is that of its renditions.
        is_ladder = row["kind"] == "ladder" and self.is_of_renditions
        return row["kind"] in self.kinds and not is_ladder


_TRANSCODE = frozenset({"transcode", "ladder"})
_FIGURES = (
    _Figure("speed", "speed\nx real\ntime", "{:.2f}", _FILE_KINDS),
    _Figure("video_bitrate_kbps", "bit rate\nkbit/s", "{:.0f}", _TRANSCODE, is_of_renditions=True),
    _Figure("vmaf_neg_mean", "VMAF\nNEG", "{:.2f}", _TRANSCODE, is_of_renditions=True),
    _Figure("vmaf_mean", "VMAF\nmean", "{:.2f}", _TRANSCODE, is_of_renditions=True),
    _Figure("cpu_s", "CPU time\ns", "{:.2f}", _FILE_KINDS),
    _Figure("energy_gross_j", "energy\nJ", "{:.1f}", _FILE_KINDS | _STREAM_KINDS),
    _Figure("streams", "real-time\nstreams", "{:g}", frozenset({"density"})),
    _Figure("cost_per_video_hour", "cost {currency}\nper hour\nof video", "{:.4f}", _FILE_KINDS),
    _Figure(
        "cost_per_stream_hour", "cost {currency}\nper hour\nof stream", "{:.4f}", _STREAM_KINDS
    ),
    _Figure("lag_p95_s", "lag p95\ns", "{:.2f}", frozenset({"live"})),
)

SETTINGS: tuple[tuple[str, str], ...] = (
    ("kind", "kind"),
    ("encoder", "encoder"),
    ("preset", "preset"),
    ("size", "size"),
    ("frame_rate", "frames/s"),
    ("threads", "threads"),
    ("pixel_format", "pixels"),
)
"""Settings of encodes that have a column if they vary, each with the heading of its column."""


def name_columns(rows: Sequence[Row]) -> list[Column]:
    """Return a column for each property that identifies rows, also for those that do not vary.

    The order of the columns is that by which the rows are sorted. A setting that depends only on
    the source, such as the size, has no column. The names of the encodes have one if their settings
    do not distinguish them.
    """
    settings = [
        Column(heading, tuple(_text(row[name]) for row in rows))
        for name, heading in SETTINGS
        if not _depends_on_source(rows, name)
    ]
    shown = [cells for cells in (column.cells for column in settings) if len(set(cells)) > 1]
    encodes: dict[tuple[Any, ...], set[str]] = {}
    for number, row in enumerate(rows):
        key = (row["source"], row["node"], row["rate_point"], row["rendition"], _build_of(row))
        encodes.setdefault((*key, *(cells[number] for cells in shown)), set()).add(row["encode"])
    if any(len(names) > 1 for names in encodes.values()):
        settings.insert(0, Column("encode", tuple(row["encode"] for row in rows)))
    if any(row["rendition"] for row in rows):
        settings.append(Column("rendition", tuple(_rendition(row) for row in rows)))
    rates = Column("rate point", tuple(row["rate_point"] or NONE for row in rows))
    builds, nodes = Column("FFmpeg", build_names(rows)), Column("node", _cells(rows, "node"))
    first = [rates, *settings] if shares_rate_points(rows) else [*settings, rates]
    return [Column("source", _cells(rows, "source")), *first, builds, nodes]


def shares_rate_points(rows: Sequence[Row]) -> bool:
    """Return whether all encodes with the same rate point can be compared.

    This is so for bit rates. The scales of constant quality differ between encoders.
    """
    scales = {row["rate_control"] for row in rows if row["rate_control"]}
    encoders = {row["encoder"] for row in rows if row["rate_control"]}
    return scales <= _SHARED_SCALES or len(encoders) == 1


def build_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the name of the FFmpeg build of each row: that of the suite, or its version.

    Builds with the same version are distinguished by their digests.
    """
    digests: dict[str, set[str]] = {}
    for row in rows:
        digests.setdefault(row["ffmpeg_version"], set()).add(row["ffmpeg_sha256"])

    def name(row: Row) -> str:
        if row["ffmpeg"]:
            return str(row["ffmpeg"])
        version = str(row["ffmpeg_version"])
        is_ambiguous = len(digests[version]) > 1
        return f"{version}@{row['ffmpeg_sha256'][:8]}" if is_ambiguous else version

    return tuple(map(name, rows))


def figure_columns(rows: Sequence[Row], hidden: Collection[str] = ()) -> list[Column]:
    """Return a column for each figure that is available in at least one row.

    Args:
        rows: The rows.
        hidden: Names of figures that are not shown.
    """
    currencies = {row["currency"] for row in rows} - {None}
    currency = next(iter(currencies)) if len(currencies) == 1 else ""
    columns = []
    for figure in _FIGURES:
        cells = tuple(figure.cell(row) for row in rows)
        if figure.name in hidden or set(cells) <= {"", "n/a"}:
            continue
        if figure.name.startswith("cost_") and len(currencies) > 1:
            cells = tuple(
                f"{cell} {row['currency']}" if row[figure.name] is not None else cell
                for cell, row in zip(cells, rows, strict=True)
            )
        columns.append(Column(figure.heading.format(currency=currency), cells, is_figure=True))
        if figure.name == "speed":
            columns += _intervals(rows)
    return columns


def missing_figures(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows that lack a figure which their kind of job has, by the name of the figure."""
    found = {
        figure.name: [row for row in rows if row[figure.name] is None and figure.is_expected(row)]
        for figure in _FIGURES
    }
    return {name: lacking for name, lacking in found.items() if lacking}


def _intervals(rows: Sequence[Row]) -> list[Column]:
    """Return the column with half the widths of the intervals of speeds, in percent of these."""

    def cell(row: Row) -> str:
        if row["speed_low"] is None or not row["speed"]:
            return ""
        return f"{(row['speed_high'] - row['speed_low']) / row['speed'] * 50:.1f}"

    cells = tuple(map(cell, rows))
    return [Column("95 %\ninterval\n+- %", cells, is_figure=True)] if any(cells) else []


def _depends_on_source(rows: Sequence[Row], name: str) -> bool:
    """Return whether a setting varies, but only with the source."""
    values: dict[str, set[Any]] = {}
    for row in rows:
        values.setdefault(row["source"], set()).add(row[name])
    varies = len(set().union(*values.values())) > 1
    return varies and all(len(found) == 1 for found in values.values())


def _cells(rows: Sequence[Row], name: str) -> tuple[str, ...]:
    return tuple(str(row[name]) for row in rows)


def _build_of(row: Row) -> tuple[str | None, str]:
    return row["ffmpeg"], row["ffmpeg_sha256"]


def _text(value: Any) -> str:
    return NONE if value in (None, "") else str(value)


def _rendition(row: Row) -> str:
    if row["rendition"] is not None:
        return str(row["rendition"])
    return "all" if row["kind"] == "ladder" else NONE
