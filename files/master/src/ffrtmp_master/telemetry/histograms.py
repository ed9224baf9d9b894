"""Histograms without locks, for values that are observed in the event loop only.

The histograms of prometheus_client acquire two locks per value, because any thread may observe
values. With five values per job, the locks took 2 % of the time that the master spends on a job.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class SingleThreadHistogram:
    """A histogram that a single thread updates and any thread may read."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Create an empty histogram; `bounds` are the upper bounds of the buckets, ascending."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Add a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def totals(self) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulative count for each upper bound, and the sum of all values."""
        names = (*map(floatToGoString, self._bounds), "+Inf")
        counts = accumulate(list(self._counts))
        return list(zip(names, map(float, counts), strict=True)), self._sum


class HistogramFamily(Collector):
    """The histograms of one metric, one for each combination of label values."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float],
    ) -> None:
        """Create a metric without histograms.

        Args:
            name: The name of the metric.
            documentation: The help text.
            labels: The label names.
            bounds: The upper bounds of the buckets in seconds, ascending.
        """
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._bounds = bounds
        self._children: dict[tuple[str, ...], SingleThreadHistogram] = {}

    def labels(self, *values: str) -> SingleThreadHistogram:
        """Return the histogram with these label values; create it if needed."""
        return self._children.setdefault(values, SingleThreadHistogram(self._bounds))

    def collect(self) -> Iterable[Metric]:
        """Yield the metric with all histograms."""
        family = HistogramMetricFamily(
            self._name, self._documentation, labels=self._labels, unit="seconds"
        )
        for values, histogram in list(self._children.items()):
            family.add_metric(values, *histogram.totals())
        yield family
