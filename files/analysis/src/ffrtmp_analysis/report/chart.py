"""Charts as Vega-Lite specifications, each made together with the table of its data.

Colors are CSS variables, so that the page determines them by its theme. Only the marks of the data
have a role and a description for assistive technology; each describes one row of the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .document import Plot, Table, TableColumn, TableRow

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
SERIES_COLORS = 8
"""The number of different colors of series. The page defines --series-1 to --series-8."""

_WIDTH = 720
_HEIGHT = 320
_ROW_HEIGHT = 22
_LABEL_LIMIT = 300
_LABEL_CHARACTER_PX = 7.5
"""Width of a character of a label in the widest of the fonts that a page may use."""

_LOGARITHMIC_RATIO = 4.0
"""Ratio of the highest to the lowest value from which a scale is logarithmic."""

_TICKS_MAX = 9
_TICK_STEPS = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
"""The first digits of the labels of a logarithmic scale, from many to few."""

_SYMBOL_SIZE = 75
_SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
_FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
_CONFIG: Mapping[str, Any] = {
    "font": _FONT,
    "axis": {
        # Assistive technology reads the marks, whose descriptions repeat the titles and units.
        "aria": False,
        "labelColor": "var(--text)",
        "titleColor": "var(--text)",
        "gridColor": "var(--grid)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelLimit": _LABEL_LIMIT,
        "labelFlush": False,
        "tickCount": 8,
    },
    "legend": {
        "aria": False,
        "labelColor": "var(--text)",
        "labelFontSize": 12,
        "labelLimit": _LABEL_LIMIT,
        "orient": "bottom",
        "direction": "horizontal",
        "columns": 4,
        "columnPadding": 24,
        "symbolSize": _SYMBOL_SIZE,
        "symbolOpacity": 1,
        "title": None,
    },
    "view": {"stroke": None},
}


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Attributes:
        column: The column of the table. Its heading is the title of the axis.
        may_be_logarithmic: Whether the scale is logarithmic if its values differ by much and all
            are positive.
        has_zero: Whether the scale begins at 0, unless it is logarithmic.
        low: The name of the values at which the interval of each mark begins, if there are any.
        high: The name of the values at which it ends.
    """

    column: TableColumn
    may_be_logarithmic: bool = False
    has_zero: bool = False
    low: str = ""
    high: str = ""

    def encoding(self, rows: Sequence[TableRow], field: str = "") -> dict[str, Any]:
        """Return the encoding of the values on this axis.

        Args:
            rows: The rows of the table, which determine the scale.
            field: The name of the values, unless they are those of the column.
        """
        scale: dict[str, Any] = {"zero": self.has_zero, "nice": True}
        axis: dict[str, Any] = {}
        names = [name for name in (self.column.name, self.low, self.high) if name]
        values = [row[name] for row in rows for name in names if row[name] is not None]
        if self.may_be_logarithmic and min(values) > 0:
            lowest, highest = min(values), max(values)
            if highest / lowest >= _LOGARITHMIC_RATIO:
                scale = {"type": "log", "nice": False, "padding": 12}
                axis = {"values": logarithmic_ticks(lowest, highest), "format": "~f"}
        return {
            "field": field or self.column.name,
            "type": "quantitative",
            "title": self.column.heading,
            "scale": scale,
            "axis": axis,
        }


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Return the numbers that label a logarithmic scale, at most nine if the range is not huge.

    Args:
        low: The lowest value of the scale, above 0.
        high: The highest value of the scale.
    """
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    ticks: list[float] = []
    for steps in _TICK_STEPS:
        ticks = [
            float(f"{step}e{exponent}") for exponent in range(first, last + 1) for step in steps
        ]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= _TICKS_MAX:
            break
    return ticks


def draw_curves(caption: str, table: Table, x: Axis, y: Axis, series: TableColumn) -> Plot:
    """Return a plot with a point for each row and a line for each series.

    Args:
        caption: What the chart shows.
        table: The table, in the order of the points of each line.
        x: The horizontal axis.
        y: The vertical axis, whose intervals are drawn where they are known.
        series: The column that names the series.
    """
    names = _names(table, series)
    color = _series_color(names, series)
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "line", "aria": False, "strokeWidth": 1.5},
            "encoding": {
                "y": y.encoding(table.rows),
                "order": {"field": "order", "type": "quantitative"},
            },
        }
    ]
    for axis, low in (("y", y), ("x", x)):
        if low.low and any(row[low.low] is not None for row in table.rows):
            layers.append(_intervals(table, axis, low, x if axis == "y" else y))
    layers.append(
        {
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": _SYMBOL_SIZE},
            "encoding": {
                "y": y.encoding(table.rows),
                "shape": _series_shape(names, series),
                "description": {"field": "description", "type": "nominal"},
            },
        }
    )
    names_used = [series.name, x.column.name, y.column.name, x.low, x.high, y.low, y.high]
    specification = {
        "height": _HEIGHT,
        "encoding": {"x": x.encoding(table.rows), "color": color},
        "layer": layers,
    }
    return _plot(caption, table, specification, names_used)


def draw_dots(caption: str, table: Table, group: TableColumn, x: Axis, series: TableColumn) -> Plot:
    """Return a plot with a line of dots for each group, one dot for each row.

    Args:
        caption: What the chart shows.
        table: The table.
        group: The column that names the groups, which are the rows of the chart.
        x: The horizontal axis.
        series: The column that selects color and shape of the dots, in the order of its names.
    """
    names = series.names or _names(table, series)
    specification = {
        "height": {"step": _ROW_HEIGHT},
        "mark": {"type": "point", "opacity": 0.85, "size": 60, "filled": True},
        "encoding": {
            "y": _band(table, group),
            "x": x.encoding(table.rows),
            "color": _series_color(names, series),
            "shape": _series_shape(names, series),
            "description": {"field": "description", "type": "nominal"},
        },
    }
    return _plot(caption, table, specification, [group.name, x.column.name, series.name])


def draw_bars(caption: str, table: Table, group: TableColumn, x: Axis) -> Plot:
    """Return a plot with a horizontal bar for each row.

    Args:
        caption: What the chart shows.
        table: The table, with one row for each name of `group`.
        group: The column that names the bars.
        x: The horizontal axis, which begins at 0.
    """
    specification = {
        "height": {"step": _ROW_HEIGHT},
        "mark": {"type": "bar", "color": "var(--series-1)"},
        "encoding": {
            "y": _band(table, group),
            "x": x.encoding(table.rows),
            "description": {"field": "description", "type": "nominal"},
        },
    }
    return _plot(caption, table, specification, [group.name, x.column.name])


def _intervals(table: Table, axis: str, interval: Axis, other: Axis) -> dict[str, Any]:
    across = "x" if axis == "y" else "y"
    return {
        "transform": [{"filter": f"isValid(datum['{interval.low}'])"}],
        "mark": {"type": "rule", "aria": False, "strokeWidth": 1.5, "opacity": 0.7},
        "encoding": {
            across: other.encoding(table.rows),
            axis: interval.encoding(table.rows, interval.low),
            f"{axis}2": {"field": interval.high},
        },
    }


def _band(table: Table, group: TableColumn) -> dict[str, Any]:
    names = _names(table, group)
    # The page may use a wider font than the one by which the labels are placed.
    extent_px = min(max(map(len, names)) * _LABEL_CHARACTER_PX, _LABEL_LIMIT)
    return {
        "field": group.name,
        "type": "nominal",
        "title": None,
        "sort": names,
        "axis": {
            "grid": True,
            "ticks": False,
            "domain": False,
            "labelPadding": 8,
            "minExtent": extent_px + 8,
        },
    }


def _names(table: Table, column: TableColumn) -> list[str]:
    return list(dict.fromkeys(str(row[column.name]) for row in table.rows))


def _series_color(names: Sequence[str], series: TableColumn) -> dict[str, Any]:
    colors = [f"var(--series-{number % SERIES_COLORS + 1})" for number in range(len(names))]
    return {
        "field": series.name,
        "type": "nominal",
        "title": None,
        "legend": {} if len(names) > 1 else None,
        "scale": {"domain": list(names), "range": colors},
    }


def _series_shape(names: Sequence[str], series: TableColumn) -> dict[str, Any]:
    shapes = [_SHAPES[number % len(_SHAPES)] for number in range(len(names))]
    return {**_series_color(names, series), "scale": {"domain": list(names), "range": shapes}}


def _plot(
    caption: str, table: Table, specification: Mapping[str, Any], names: Sequence[str]
) -> Plot:
    """Return a plot whose specification contains only what its table shows."""
    values = [
        {
            **{name: row[name] for name in names if name},
            "order": number,
            "description": _description(table, row),
        }
        for number, row in enumerate(table.rows)
    ]
    return Plot(
        caption=caption,
        table=table,
        specification={
            "$schema": SCHEMA,
            "width": _WIDTH,
            "background": None,
            "padding": 4,
            "config": _CONFIG,
            "data": {"values": values},
            **specification,
        },
    )


def _description(table: Table, row: TableRow) -> str:
    """Return the description of a mark: all cells of its row, each with its heading."""
    return ", ".join(
        f"{column.heading} {cell}" if column.heading else cell
        for column in table.columns
        if (cell := column.cell(row))
    )
