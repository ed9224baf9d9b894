"""Metric families for items of one type, such as GPUs, of which some values may be unknown."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


class Family(NamedTuple):
    """A metric, which has one or more values for each item.

    `values` maps each value of the label `label` to the name of the item's value. If the metric has
    only one value, `label` and the key in `values` are empty.
    """

    name: str
    meaning: str
    unit: str
    label: str
    values: dict[str, str]

    def gauge(
        self, owner: str, rows: Iterable[tuple[str, Mapping[str, float]]]
    ) -> GaugeMetricFamily:
        """Return a gauge with the values in `rows`.

        Each row describes an item: its value of the label `owner`, and its known values by name.
        An unknown value has no sample.
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
        """Return a counter with the values in `rows`, which have the same form as for `gauge`."""
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
