"""Tests that the master's own histograms have the same samples as the Prometheus library's."""

from collections.abc import Iterable

from ffrtmp_master.telemetry.histograms import HistogramFamily
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

BOUNDS = (0.001, 0.25, 1, 60)


def as_page(values: Iterable[tuple[str, float]], *, is_ours: bool) -> list[str]:
    """Observe values by route, and return the metrics page without creation timestamps."""
    registry = CollectorRegistry()
    name, help_text, labels = "waits_seconds", "Time until it came", ["route"]
    if is_ours:
        ours = HistogramFamily(name, help_text, labels, bounds=BOUNDS)
        registry.register(ours)
        for route, value in values:
            ours.labels(route).observe(value)
    else:
        theirs = Histogram(
            name, help_text, labels, unit="seconds", buckets=BOUNDS, registry=registry
        )
        for route, value in values:
            theirs.labels(route).observe(value)
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/v1/jobs", '/v1/"odd"']),
            st.one_of(st.sampled_from(BOUNDS), st.floats(0, 100)),
        )
    )
)
def test_samples_equal_those_of_the_library(values: list[tuple[str, float]]) -> None:
    assert as_page(values, is_ours=True) == as_page(values, is_ours=False)


def test_a_histogram_without_labels_has_samples_from_the_start() -> None:
    family_without_labels = HistogramFamily("waits_seconds", "Time until it came", bounds=BOUNDS)
    family_without_labels.labels()
    (family,) = family_without_labels.collect()
    assert [(sample.name, sample.value) for sample in family.samples][-2:] == [
        ("waits_seconds_count", 0),
        ("waits_seconds_sum", 0),
    ]
    assert len(family.samples) == len(BOUNDS) + 3
