"""Queries of the latest results, restricted by the variables node, encoder and scenario."""

ENCODE = ("encoder", "preset", "rate_point")
"""The labels of an encode, by which results of several nodes and scenarios are averaged."""

ENCODE_LEGEND = "{{encoder}} {{preset}} {{rate_point}}"
"""The legend of a series with these labels."""

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


def age_s(metric: str, by: tuple[str, ...] = ENCODE, *, job: str = "results") -> str:
    """Return the query of the time since the oldest of several measurements, in seconds.

    Args:
        metric: The metric with the Unix times of the measurements.
        by: The labels that remain.
        job: The scrape job of the exporter.
    """
    return f'time() - min by ({", ".join(by)}) ({metric}{{job="{job}", {FILTER}}})'
