"""Charts of panels in SVG, drawn with Vega-Lite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert

SERIES_MAX = 20
"""The largest number of series in a chart."""

_POINTS_MAX = 200
_WIDTH, _HEIGHT = 480, 200
_VEGA_LITE = "5.20"
_BASE = {"background": "white", "width": _WIDTH, "config": {"font": "sans-serif"}}


@dataclass(frozen=True)
class Line:
    """A named line: pairs of a Unix time in seconds and a value, or of two values."""

    name: str
    points: Sequence[tuple[float, float]]


def over_time(lines: Sequence[Line], title: str) -> str:
    """Return a chart of series over time.

    Args:
        lines: The series.
        title: The title of the vertical axis.
    """
    rows = [
        {"series": line.name, "time": at_s * 1000, "value": value}
        for line in lines[:SERIES_MAX]
        for at_s, value in line.points
    ]
    return _svg(
        rows,
        {"type": "line", "point": len(rows) < _POINTS_MAX, "clip": True},
        x={"field": "time", "type": "temporal", "title": None},
        y={"field": "value", "type": "quantitative", "title": title},
        height=_HEIGHT,
    )


def states(lines: Sequence[Line], texts: Mapping[float, tuple[str, str]], step_s: float) -> str:
    """Return a chart with a bar for each series, whose colors are those of its states.

    Args:
        lines: The series.
        texts: The text and the color of each value.
        step_s: The time between two values in seconds.
    """
    rows = [
        {
            "series": line.name,
            "begin": at_s * 1000,
            "end": (at_s + step_s) * 1000,
            "state": texts.get(value, (f"{value:g}", ""))[0],
        }
        for line in lines[:SERIES_MAX]
        for at_s, value in line.points
    ]
    names, colors = zip(*texts.values(), strict=True)
    scale = {"domain": list(names), "range": list(colors)}
    return _svg(
        rows,
        {"type": "rect"},
        x={"field": "begin", "type": "temporal", "title": None},
        y={"field": "series", "type": "nominal", "title": None},
        height=max(18 * len(lines[:SERIES_MAX]), 40),
        x2={"field": "end"},
        color={"field": "state", "type": "nominal", "title": None, "scale": scale},
    )


def bars(values: Sequence[tuple[str, float]], title: str) -> str:
    """Return a chart with a horizontal bar for each value.

    Args:
        values: The values with their names.
        title: The title of the horizontal axis.
    """
    rows = [{"series": name, "value": value} for name, value in values[:SERIES_MAX]]
    return _svg(
        rows,
        {"type": "bar"},
        x={"field": "value", "type": "quantitative", "title": title},
        y={"field": "series", "type": "nominal", "title": None, "sort": None},
        height=max(18 * len(rows), 40),
    )


def curves(lines: Sequence[Line], x_title: str, y_title: str) -> str:
    """Return a chart of pairs of values, with a line for each series.

    Args:
        lines: The series.
        x_title: The title of the horizontal axis.
        y_title: The title of the vertical axis.
    """
    rows = [
        {"series": line.name, "x": x, "y": y} for line in lines[:SERIES_MAX] for x, y in line.points
    ]
    return _svg(
        rows,
        {"type": "line", "point": True},
        x=_free("x", x_title),
        y=_free("y", y_title),
        height=_HEIGHT,
    )


def _free(field: str, title: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}}


def _svg(
    rows: list[dict[str, Any]],
    mark: dict[str, Any],
    *,
    x: dict[str, Any],
    y: dict[str, Any],
    height: int,
    **more: dict[str, Any],
) -> str:
    legend = None if mark["type"] == "bar" else {"labelLimit": 300}
    color = {"field": "series", "type": "nominal", "title": None, "legend": legend}
    specification = _BASE | {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "height": height,
        "data": {"values": rows},
        "mark": mark,
        "encoding": {"x": x, "y": y, "color": color} | more,
    }
    return str(vl_convert.vegalite_to_svg(specification, vl_version=_VEGA_LITE))
