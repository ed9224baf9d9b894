"""Queries of panels as a database can answer them, without Grafana's variables."""

import re

_FILTERS = re.compile(r"\$(?:node|encoder|scenario)\b")
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def substituted(expr: str, *, rate_interval: str) -> str:
    """Return a query in which all nodes, encoders and scenarios are selected.

    Args:
        expr: The query of a panel.
        rate_interval: The value of `$__rate_interval`, for example 1m.
    """
    return _FILTERS.sub(".*", expr.replace("$__rate_interval", rate_interval))


def legend(template: str, labels: dict[str, str]) -> str:
    """Return the legend of a series as Grafana displays it.

    Like Grafana, it contains the name of a label that the series does not have.

    Args:
        template: The legend of the query, with names of labels in double braces.
        labels: The labels of the series.
    """
    return " ".join(_LABEL.sub(lambda match: labels.get(match[1]) or match[1], template).split())
