"""Queries of the latest results, restricted by the variables node, encoder and scenario."""

ENCODE = ("encoder", "preset", "rate_point")
"""The labels of an encode, by which results of several nodes and scenarios are averaged."""

ENCODE_LEGEND = "{{encoder}} {{preset}} {{rate_point}}"
"""The legend of a series with these labels; its query must be one of `named`."""

FILTER = 'node=~"$node", encoder=~"$encoder", scenario=~"$scenario"'
"""The matchers of the variables."""


def mean(
    metric: str, by: tuple[str, ...] = ENCODE, *, job: str = "results", matchers: str = ""
) -> str:
    """Return the query of the mean of a metric.

    Args:
        metric: The name of the metric.
        by: The labels that remain.
        job: The scrape job of the exporter.
        matchers: Further matchers.
    """
    further = f", {matchers}" if matchers else ""
    return f'avg by ({", ".join(by)}) ({metric}{{job="{job}", {FILTER}{further}}})'


def named(expr: str) -> str:
    """Return a query whose series have all labels of an encode, for a legend.

    In a legend, Grafana displays the name of a label that a series does not have. For example, a
    ladder has no preset; its series get the value `-`.

    Args:
        expr: The query.
    """
    for label in ENCODE:
        expr = f'label_replace({expr}, "{label}", "-", "{label}", "")'
    return expr


def share(part: str, whole: str) -> str:
    """Return the query of a share, which is 0 if the part has no series.

    Args:
        part: The query of the part. An exporter has no series for a verdict without results.
        whole: The query of the whole, with the same labels.
    """
    return f"({part} or 0 * {whole}) / {whole}"


def age_s(metric: str, by: tuple[str, ...] = ENCODE, *, job: str = "results") -> str:
    """Return the query of the time since the oldest of several measurements, in seconds.

    Args:
        metric: The metric with the Unix times of the measurements.
        by: The labels that remain.
        job: The scrape job of the exporter.
    """
    return f'time() - min by ({", ".join(by)}) ({metric}{{job="{job}", {FILTER}}})'
