"""Queries of panels."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The data source of all panels, which is that of the variable with this name."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Query:
    """A query in MetricsQL, and the legend of its series."""

    expr: str
    legend: str


def growth(selector: str, window: str) -> str:
    """Return the query of the increase of a counter that does not start at 0.

    For example, the counters of a kernel start when the host boots. Unlike `increase`, the query
    does not count the first sample of a series as an increase from 0.

    Args:
        selector: The counter with its matchers.
        window: The period, such as 1h.
    """
    return f"increase_prometheus({selector}[{window}])"


def range_target(query: Query, number: int) -> prometheus.Dataquery:
    """Return the target of a query over the time range of the dashboard.

    Args:
        query: The query.
        number: The position of the query in its panel, from 0.
    """
    return _target(query, number).range()


def instant_target(query: Query, number: int) -> prometheus.Dataquery:
    """Return the target of a query at the end of the time range of the dashboard.

    Args:
        query: The query.
        number: The position of the query in its panel, from 0.
    """
    return _target(query, number).instant()


def table_target(query: Query, number: int) -> prometheus.Dataquery:
    """Return the target of a query whose series become the rows of a table.

    Args:
        query: The query.
        number: The position of the query in its panel, from 0.
    """
    return instant_target(query, number).format(PromQueryFormat.TABLE)


def ref_id(number: int) -> str:
    """Return the letter of the query at a position from 0."""
    return _LETTERS[number]


def _target(query: Query, number: int) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .ref_id(ref_id(number))
        .expr(query.expr)
        .legend_format(query.legend)
    )
