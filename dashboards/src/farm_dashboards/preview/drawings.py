"""Panels with the answers to their queries: a chart and a table for each."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from farm_dashboards.preview import charts
from farm_dashboards.preview.database import Database, QueryError, Series
from farm_dashboards.preview.expressions import legend, substituted
from farm_dashboards.preview.values import formatted

_TIME_SERIES = ("timeseries", "state-timeline")
_TABLES = ("table", "xychart")
_POINTS = 120
# The default time between two scrapes.
_SCRAPE_S = 15

Answers = list[tuple[dict[str, Any], list[Series]]]
"""The targets of a panel, each with the series of its query."""


@dataclass(frozen=True)
class Period:
    """The period of a preview, in Unix times and seconds."""

    begin_s: float
    end_s: float

    @property
    def step_s(self) -> float:
        """The time between two values of a graph in seconds."""
        return max((self.end_s - self.begin_s) / _POINTS, 1.0)

    @property
    def rate_interval(self) -> str:
        """The value of `$__rate_interval`: as in Grafana, each scrape is in one of the windows."""
        return f"{max(4 * _SCRAPE_S, math.ceil(self.step_s) + _SCRAPE_S)}s"


@dataclass
class Drawing:
    """A panel as it is drawn.

    Attributes:
        head: The titles of the columns of the table.
        rows: The rows of the table.
        svg: The chart; empty if there is no data.
        errors: The queries without an answer, with the reason.
        empty: The letters of the queries without data.
    """

    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    svg: str = ""
    errors: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def draw(panel: dict[str, Any], database: Database, period: Period) -> Drawing:
    """Return a panel with the answers to its queries.

    Args:
        panel: The panel, as in the file of its dashboard.
        database: The database.
        period: The period.
    """
    drawing = Drawing()
    answers = _answers(panel, database, period, drawing)
    if panel["type"] in _TABLES:
        _draw_table(panel, answers, drawing)
    elif panel["type"] in _TIME_SERIES:
        _draw_graph(panel, answers, drawing, period.step_s)
    else:
        _draw_values(panel, answers, drawing)
    return drawing


def _answers(
    panel: dict[str, Any], database: Database, period: Period, drawing: Drawing
) -> Answers:
    answers = []
    for target in panel["targets"]:
        expr = substituted(target["expr"], rate_interval=period.rate_interval)
        try:
            if panel["type"] in _TIME_SERIES:
                series = database.between(expr, period.begin_s, period.end_s, period.step_s)
            else:
                series = database.at(expr, period.end_s)
        except QueryError as error:
            drawing.errors.append(f"{target['refId']}: {error}")
            series = []
        found = [item for item in series if item.points]
        if not found:
            drawing.empty.append(target["refId"])
        answers.append((target, found))
    return answers


def _unit(panel: dict[str, Any]) -> str:
    unit: str = panel["fieldConfig"]["defaults"]["unit"]
    return unit


def _states(panel: dict[str, Any]) -> dict[float, tuple[str, str]]:
    """Return the text and the color of each state; empty if the values are not states."""
    mappings = panel["fieldConfig"]["defaults"].get("mappings", [])
    return {
        float(value): (item["text"], item["color"])
        for mapping in mappings
        for value, item in mapping["options"].items()
    }


def _text(panel: dict[str, Any], value: float) -> str:
    states = _states(panel)
    return states[value][0] if value in states else formatted(value, _unit(panel))


def _draw_graph(panel: dict[str, Any], answers: Answers, drawing: Drawing, step_s: float) -> None:
    lines = [
        charts.Line(legend(target["legendFormat"], item.labels), item.points)
        for target, series in answers
        for item in series
    ]
    drawing.head = ["series", "last", "minimum", "maximum"]
    for line in lines:
        values = [value for _, value in line.points]
        cells = (_text(panel, value) for value in (values[-1], min(values), max(values)))
        drawing.rows.append([line.name, *cells])
    if not lines:
        return
    states = _states(panel)
    drawing.svg = (
        charts.states(lines, states, step_s) if states else charts.over_time(lines, _unit(panel))
    )


def _draw_values(panel: dict[str, Any], answers: Answers, drawing: Drawing) -> None:
    values = [
        (legend(target["legendFormat"], item.labels), item.points[-1][1])
        for target, series in answers
        for item in series
    ]
    drawing.head = ["series", "value"]
    drawing.rows = [[name, _text(panel, value)] for name, value in values]
    if values:
        drawing.svg = charts.bars(values, _unit(panel))


def _draw_table(panel: dict[str, Any], answers: Answers, drawing: Drawing) -> None:
    options = panel["transformations"][1]["options"]
    renamed: dict[str, str] = options["renameByName"]
    ordered = sorted(renamed, key=options["indexByName"].__getitem__)
    keys = [name for name in ordered if not name.startswith("Value")]
    titles = [target["legendFormat"] for target, _ in answers]
    units = _column_units(panel, titles)
    rows = _joined(keys, answers)
    drawing.head = [*(renamed[key] for key in keys), *titles]
    for labels, values in rows.items():
        cells = (
            "" if value is None else formatted(value, units[title])
            for title, value in zip(titles, values, strict=True)
        )
        drawing.rows.append([*labels, *cells])
    if panel["type"] == "xychart":
        fields = panel["transformations"][3]["options"]["fields"]
        lines = connected(rows, len(fields))
        drawing.svg = charts.curves(lines, *titles) if lines else ""
        return
    first = [(" ".join(labels), values[0]) for labels, values in rows.items()]
    known = [(name, value) for name, value in first if value is not None]
    if known:
        drawing.svg = charts.bars(known, titles[0])


def _column_units(panel: dict[str, Any], titles: Iterable[str]) -> dict[str, str]:
    units = dict.fromkeys(titles, _unit(panel))
    for override in panel["fieldConfig"]["overrides"]:
        for found in override["properties"]:
            if found["id"] == "unit":
                units[override["matcher"]["options"]] = found["value"]
    return units


def _joined(keys: list[str], answers: Answers) -> dict[tuple[str, ...], list[float | None]]:
    """Return the values of all queries by the labels that identify a row."""
    rows: dict[tuple[str, ...], list[float | None]] = {}
    for at, (_, series) in enumerate(answers):
        for item in series:
            labels = tuple(item.labels.get(key, "") for key in keys)
            rows.setdefault(labels, [None] * len(answers))[at] = item.points[-1][1]
    return dict(sorted(rows.items()))


def connected(rows: dict[tuple[str, ...], list[float | None]], count: int) -> list[charts.Line]:
    """Return lines through the points whose first labels are the same.

    Args:
        rows: The two values of each point, by its labels.
        count: The number of labels that are compared.
    """
    by_name: dict[str, list[tuple[float, float]]] = {}
    for labels, (x, y) in rows.items():
        if x is not None and y is not None:
            by_name.setdefault(" ".join(labels[:count]), []).append((x, y))
    return [charts.Line(name, sorted(points)) for name, points in by_name.items()]
