"""Labels of the metrics that describe a scenario on a node, and gauges with these labels."""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from ffrtmp_shared.models import Result
from ffrtmp_shared.scenario import EncodeSettings
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample


class ScenarioLabels(NamedTuple):
    """A scenario on a node; the names of the fields are those of the labels."""

    node: str
    encoder: str
    preset: str
    rate_point: str
    scenario: str

    @classmethod
    def of_scenario(cls, result: Result) -> "ScenarioLabels":
        """Return the labels of the scenario of a result.

        If it has several renditions or none, there is neither a preset nor a rate point.
        """
        return cls._of(result, result.scenario.encode)

    @classmethod
    def of_rendition(cls, result: Result, name: str) -> "ScenarioLabels":
        """Return the labels of a rendition of a ladder, whose name is the rate point."""
        ladder = result.scenario.ladder
        renditions = () if ladder is None else ladder.renditions
        encode = next((found.encode for found in renditions if found.name == name), None)
        return cls._of(result, encode)._replace(rate_point=name)

    @classmethod
    def _of(cls, result: Result, encode: EncodeSettings | None) -> "ScenarioLabels":
        return cls(
            node=result.node,
            encoder=result.scenario.encoder or "",
            preset="" if encode is None else encode.preset,
            rate_point="" if encode is None else encode.rate.label,
            scenario=result.scenario.name,
        )


E = TypeVar("E")

ValueOf = Callable[[ScenarioLabels, E], float | None]
"""Returns the value of a gauge for a scenario on a node, or None if it has no sample."""

ValuesOf = Callable[[ScenarioLabels, E], Iterable[tuple[str, float]]]
"""Returns the values of a further label, with those of the gauge."""


class ScenarioGauge(NamedTuple):
    """A gauge: its name, its unit, which the name ends with, and its meaning."""

    name: str
    unit: str
    documentation: str

    def metric(self, *more_labels: str) -> GaugeMetricFamily:
        """Return the gauge without samples; its labels are those of scenarios and some more."""
        labels = (*ScenarioLabels._fields, *more_labels)
        return GaugeMetricFamily(self.name, self.documentation, labels=labels, unit=self.unit)


class LabeledScenarios(Generic[E]):
    """Something about scenarios on nodes, of which several gauges get samples.

    The samples of all gauges share their labels, which are most of their memory.
    """

    def __init__(self, found: Mapping[ScenarioLabels, E]) -> None:
        """Prepare the labels of `found`."""
        self._found = found
        self._labels = {labels: labels._asdict() for labels in found}

    def gauge(
        self, described: ScenarioGauge, read: ValueOf[E], more: Mapping[str, str] | None = None
    ) -> Metric:
        """Return a gauge with a sample for each scenario for which `read` returns a value.

        Args:
            described: The gauge.
            read: Returns the value for a scenario on a node.
            more: Further labels, which are the same for all samples.
        """
        metric = described.metric(*(more or {}))
        for labels, found in self._found.items():
            value = read(labels, found)
            if value is not None:
                own = {**self._labels[labels], **more} if more else self._labels[labels]
                metric.samples.append(Sample(described.name, own, value))
        return metric

    def gauge_by(
        self,
        described: ScenarioGauge,
        name: str,
        read: ValuesOf[E],
    ) -> Metric:
        """Return a gauge with a further label.

        Args:
            described: The gauge.
            name: The name of the further label.
            read: Returns the values of the further label, with those of the gauge.
        """
        metric = described.metric(name)
        for labels, found in self._found.items():
            for text, value in read(labels, found):
                own = {**self._labels[labels], name: text}
                metric.samples.append(Sample(described.name, own, value))
        return metric

    def quantiles(self, described: ScenarioGauge, read: ValuesOf[E]) -> Metric:
        """Return a summary without a count, whose label `quantile` is from 0 to 1.

        Args:
            described: The metric.
            read: Returns the quantiles with their values.
        """
        metric = self.gauge_by(described, "quantile", read)
        # This is the only type of metrics that may have the label.
        metric.type = "summary"
        return metric

    def info(self, described: ScenarioGauge, name: str, read: Callable[[E], str | None]) -> Metric:
        """Return an info metric, whose further label contains a text.

        Args:
            described: The metric, whose name gets the suffix `_info`.
            name: The name of the further label.
            read: Returns the text for a scenario, or None if it has none.
        """
        metric = InfoMetricFamily(
            described.name, described.documentation, labels=(*ScenarioLabels._fields, name)
        )
        for labels, found in self._found.items():
            text = read(found)
            if text is not None:
                own = {**self._labels[labels], name: text}
                metric.samples.append(Sample(f"{described.name}_info", own, 1))
        return metric
