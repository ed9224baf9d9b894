"""Histograms that count in the event loop, where each request is counted.

The library's own take two locks for each value, because any thread may count there; at five
values a job that was a fiftieth of all that the master does for it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class SingleThreadHistogram:
    """One histogram, for one thread to count in; any may read it."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Count values up to each of the ascending `bounds`, and those above."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def totals(self) -> tuple[list[tuple[str, float]], float]:
        """Return the values up to each bound, as Prometheus counts them, and the sum of all."""
        names = (*map(floatToGoString, self._bounds), "+Inf")
        counts = accumulate(list(self._counts))
        return list(zip(names, map(float, counts), strict=True)), self._sum


class HistogramFamily(Collector):
    """The histograms of one name, by their labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float],
    ) -> None:
        """Name the metric, whose values are seconds."""
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._bounds = bounds
        self._children: dict[tuple[str, ...], SingleThreadHistogram] = {}

    def labels(self, *values: str) -> SingleThreadHistogram:
        """Return the histogram with these values of its labels."""
        return self._children.setdefault(values, SingleThreadHistogram(self._bounds))

    def collect(self) -> Iterable[Metric]:
        """Give all of them."""
        family = HistogramMetricFamily(
            self._name, self._documentation, labels=self._labels, unit="seconds"
        )
        for values, tally in list(self._children.items()):
            family.add_metric(values, *tally.totals())
        yield family
