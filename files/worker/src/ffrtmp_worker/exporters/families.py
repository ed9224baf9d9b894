"""Metric families over items of one type, such as GPUs, some values of which may be unknown."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


class Family(NamedTuple):
    """One metric: its unit, and the names of its values by the value of its label.

    A metric with a single value has no label; the key of its value is "".
    """

    name: str
    meaning: str
    unit: str
    label: str
    values: dict[str, str]

    def gauge(
        self, owner: str, rows: Iterable[tuple[str, Mapping[str, float]]]
    ) -> GaugeMetricFamily:
        """Return the gauge over `rows`.

        Each row is an item: its value of the label `owner`, and its known values. Values that are
        not known have no sample.
        """
        metric = GaugeMetricFamily(
            self.name, self.meaning, labels=self._labels(owner), unit=self.unit
        )
        for labels, value in self._samples(rows):
            metric.add_metric(labels, value)
        return metric

    def counter(
        self, owner: str, rows: Iterable[tuple[str, Mapping[str, float]]]
    ) -> CounterMetricFamily:
        """Return the counter over `rows`, as `gauge` does."""
        metric = CounterMetricFamily(
            self.name, self.meaning, labels=self._labels(owner), unit=self.unit
        )
        for labels, value in self._samples(rows):
            metric.add_metric(labels, value)
        return metric

    def _labels(self, owner: str) -> list[str]:
        return [owner, self.label] if self.label else [owner]

    def _samples(
        self, rows: Iterable[tuple[str, Mapping[str, float]]]
    ) -> Iterable[tuple[list[str], float]]:
        for item, known in rows:
            for label, name in self.values.items():
                if name in known:
                    yield ([item, label] if self.label else [item]), known[name]
