"""Tests of label values that come from other programs and devices."""

from ffrtmp_shared.label_values import MAX_LENGTH, clean_label_values
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from property_budget import budget


class _Named(Collector):
    def __init__(self, *names: str) -> None:
        self._names = names

    def collect(self) -> list[Metric]:
        family = GaugeMetricFamily("containers", "Containers by name", labels=["name"])
        for name in self._names:
            family.add_metric([name], 1.0)
        return list(clean_label_values([family]))


def _exposition(*names: str) -> str:
    registry = CollectorRegistry()
    registry.register(_Named(*names))
    return generate_latest(registry).decode()


def test_one_unusual_name_does_not_end_the_scrape() -> None:
    text = _exposition("web", "a\udcffb", "c\0d", "\u00fcber")
    assert 'name="web"' in text
    assert 'name="a\ufffdb"' in text
    assert 'name="c\ufffdd"' in text
    assert 'name="\u00fcber"' in text


@budget(50)
@given(st.text(st.characters(codec=None), max_size=2 * MAX_LENGTH))
def test_every_name_can_be_exposed(name: str) -> None:
    assert "containers{name=" in _exposition(name)
