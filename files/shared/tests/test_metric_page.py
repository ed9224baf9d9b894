"""Tests of pages of metrics: one collector that fails must leave those of the others."""

import threading
from collections.abc import Callable, Iterable

import promtool
import pytest
from ffrtmp_shared import metric_page
from ffrtmp_shared.metric_page import MetricPage
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

SUCCESS = "ffrtmp_scrape_collector_success"
ACCEPT_OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
ACCEPT_OF_VICTORIA_METRICS = "text/plain;version=0.0.4;q=1,*/*;q=0.1"


class Fixed(Collector):
    """Calls a function for its metrics."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def good() -> Iterable[Metric]:
    yield GaugeMetricFamily("ffrtmp_good_bytes", "A good metric", 7, unit="bytes")


def half() -> Iterable[Metric]:
    yield GaugeMetricFamily("ffrtmp_half", "A metric before the failure", 1)
    raise ZeroDivisionError


def surrogate() -> Iterable[Metric]:
    yield GaugeMetricFamily("ffrtmp_surrogate", "A help text without an encoding: \ud800", 1)


def not_a_number() -> Iterable[Metric]:
    yield GaugeMetricFamily("ffrtmp_not_a_number", "A value of a wrong type", "x")  # type: ignore[arg-type]


def test_only_the_named_collectors_are_called() -> None:
    called = []

    def collect() -> Iterable[Metric]:
        called.append(1)
        return good()

    page = MetricPage({"other": Fixed(collect), "good": Fixed(good)})
    text = page.render("", {"good", "unknown"})[0].decode()
    assert text.count("ffrtmp_good_bytes 7.0") == 1
    assert f'{SUCCESS}{{collector="good"}} 1.0' in text
    assert 'collector="other"' not in text
    assert not called
    page.render("")
    assert called


@pytest.mark.parametrize("accept", ["", ACCEPT_OF_PROMETHEUS])
@pytest.mark.parametrize("bad", [half, surrogate, not_a_number])
def test_a_failing_collector_loses_only_its_own_metrics(
    bad: Callable[[], Iterable[Metric]], accept: str
) -> None:
    page = MetricPage({"bad": Fixed(bad), "good": Fixed(good)})
    text = page.render(accept)[0].decode()
    assert "ffrtmp_good_bytes 7.0" in text
    assert f'{SUCCESS}{{collector="bad"}} 0.0' in text
    assert f'{SUCCESS}{{collector="good"}} 1.0' in text
    assert "ffrtmp_half" not in text
    assert 'ffrtmp_scrape_collector_duration_seconds{collector="bad"}' in text
    if accept:
        assert len(list(text_string_to_metric_families(text))) == 3
    else:
        assert promtool.complaints(text) == ""


def test_a_collector_that_works_again_is_served() -> None:
    does_fail = [True]

    def collect() -> Iterable[Metric]:
        return half() if does_fail[0] else good()

    page = MetricPage({"some": Fixed(collect)})
    assert f'{SUCCESS}{{collector="some"}} 0.0' in page.render("")[0].decode()
    does_fail[0] = False
    assert f'{SUCCESS}{{collector="some"}} 1.0' in page.render("")[0].decode()


def test_a_collector_that_hangs_loses_only_its_own_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metric_page, "_BUSY_WAIT_S", 0.05)
    entered, leave = threading.Event(), threading.Event()

    def hang() -> Iterable[Metric]:
        entered.set()
        assert leave.wait(30)
        return good()

    page = MetricPage({"hanging": Fixed(hang), "good": Fixed(lambda: ())})
    first = threading.Thread(target=page.render, args=("",))
    first.start()
    assert entered.wait(30)
    text = page.render("")[0].decode()
    assert f'{SUCCESS}{{collector="hanging"}} 0.0' in text
    assert f'{SUCCESS}{{collector="good"}} 1.0' in text
    leave.set()
    first.join()
    assert f'{SUCCESS}{{collector="hanging"}} 1.0' in page.render("")[0].decode()


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        ("", False),
        (ACCEPT_OF_VICTORIA_METRICS, False),
        (ACCEPT_OF_PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("text/plain, application/openmetrics-text;q=0.1", False),
        ("application/openmetrics-text;version=x", True),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=1e999", False),
        (";;=,,", False),
    ],
)
def test_the_format_follows_the_accept_header(accept: str, is_openmetrics: bool) -> None:
    registry = CollectorRegistry()
    Counter("ffrtmp_some", "A counter", registry=registry)
    body, content_type = MetricPage({"some": registry, "good": Fixed(good)}).render(accept)
    text = body.decode()
    assert content_type.startswith("application/openmetrics-text; ") == is_openmetrics
    assert text.endswith("# EOF\n") == is_openmetrics
    assert text.count("# EOF") == is_openmetrics
    assert ("ffrtmp_some_created" in text) == is_openmetrics
    assert ("# UNIT ffrtmp_good_bytes bytes" in text) == is_openmetrics
