"""Metrics of several like things, such as GPUs, each of which knows some of its values or all."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


class Family(NamedTuple):
    """One metric: its unit, and the values that it shows, by the value of its label.

    Where there is one value alone, there is no label, and the value's key is "".
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

        These are for each thing its value of the label `owner`, and what is known of it; what is
        not known has no sample.
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
        for thing, known in rows:
            for label, name in self.values.items():
                if name in known:
                    yield ([thing, label] if self.label else [thing]), known[name]
