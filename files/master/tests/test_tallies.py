"""Histograms of the event loop say what the library's own say."""

from collections.abc import Iterable

from ffrtmp_master.telemetry.histograms import HistogramFamily
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

BOUNDS = (0.001, 0.25, 1, 60)


def as_page(values: Iterable[tuple[str, float]], *, is_ours: bool) -> list[str]:
    """Count values by their route, and return the page's lines without when it all began."""
    registry = CollectorRegistry()
    name, said, labels = "waits_seconds", "Time until it came", ["route"]
    if is_ours:
        ours = HistogramFamily(name, said, labels, bounds=BOUNDS)
        registry.register(ours)
        for route, value in values:
            ours.labels(route).observe(value)
    else:
        theirs = Histogram(name, said, labels, unit="seconds", buckets=BOUNDS, registry=registry)
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
def test_they_count_as_the_library_counts(values: list[tuple[str, float]]) -> None:
    assert as_page(values, is_ours=True) == as_page(values, is_ours=False)


def test_one_without_labels_is_there_from_the_beginning() -> None:
    tallies = HistogramFamily("waits_seconds", "Time until it came", bounds=BOUNDS)
    tallies.labels()
    (family,) = tallies.collect()
    assert [(sample.name, sample.value) for sample in family.samples][-2:] == [
        ("waits_seconds_count", 0),
        ("waits_seconds_sum", 0),
    ]
    assert len(family.samples) == len(BOUNDS) + 3
