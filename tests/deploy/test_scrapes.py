"""Tests of scrapes with VictoriaMetrics and the settings of its role: limits, allowed metrics."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from certificates import Site
from metrics_target import Page, metrics_target
from polling import wait_until
from postgresql import free_port
from victoria_metrics import (
    RELEASES,
    Service,
    run_victoria_metrics,
    settings,
    supports_job_sizes,
    write_scrape_config,
)

pytestmark = pytest.mark.slow

_MEMORY_MAX_BYTES = 2 * 1024**3
"""Half of the limit that the role sets."""


def lines(*names: str) -> bytes:
    return b"".join(f"{name} 1\n".encode() for name in names)


def numbered(name: str, count: int, prefix: int = 0) -> bytes:
    return b"".join(b'%s{number="%d-%d"} 1\n' % (name.encode(), prefix, n) for n in range(count))


class Farm(NamedTuple):
    """VictoriaMetrics with one target for each job, and a switch for the million series."""

    release: str
    store: Service
    is_broken: threading.Event

    def last_error(self, job: str) -> str:
        """Return the last error of the target of a job."""
        (found,) = (t for t in self.store.targets().values() if t["labels"]["job"] == job)
        return str(found["lastError"])


@pytest.fixture(scope="module", params=RELEASES)
def farm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Farm]:
    """VictoriaMetrics, which scrapes each of its targets every second."""
    site = Site(tmp_path_factory.mktemp("site"))
    is_broken = threading.Event()
    scrapes = iter(range(1_000_000))
    million = numbered("haproxy_broken", 1_000_000)
    stolen = lines(
        'ffrtmp_node_up{node="w1"}',
        "up",
        'ALERTS{alertname="DiskNearlyFull",alertstate="firing"}',
        "ffrtmp_master_jobs_queued",
    )
    own = lines('pg_up{instance="other:1",job="master"}', "process_cpu_seconds_total")
    pages: dict[str, Page] = {
        "postgresql": lambda: own + stolen,
        "nginx": lambda: lines("nginx_connections_active"),
        "haproxy": lambda: million if is_broken.is_set() else lines("haproxy_up"),
        "cost": lambda: numbered("ffrtmp_cost_many", 3000),
        "results": lambda: numbered("ffrtmp_result_new", 40, next(scrapes)),
    }
    with ExitStack() as stack:
        targets = {
            f"victoria_metrics_{job}_targets": [stack.enter_context(metrics_target(site, page))]
            for job, page in pages.items()
        }
        known = settings(
            site,
            request.param,
            free_port(),
            victoria_metrics_scrape_interval_s=1,
            victoria_metrics_results_sample_limit=2000,
            victoria_metrics_results_series_limit=100,
            **targets,
        )
        write_scrape_config(known)
        store = stack.enter_context(run_victoria_metrics(site, request.param, known))
        wait_until(lambda: store.value('up{job="nginx"}') == 1, "the target nginx is scraped")
        yield Farm(request.param, store, is_broken)


def test_a_target_cannot_provide_metrics_of_another_component(farm: Farm) -> None:
    (series,) = wait_until(lambda: farm.store.query("pg_up"), "the target postgresql is scraped")
    assert series["metric"]["job"] == "postgresql"
    assert series["metric"]["exported_job"] == "master"
    assert series["metric"]["instance"].startswith("127.0.0.1:")
    names = {found["metric"]["__name__"] for found in farm.store.query('{job="postgresql"}')}
    assert {name for name in names if not name.startswith("scrape_")} == {
        "pg_up",
        "process_cpu_seconds_total",
        "up",
    }
    assert farm.store.value('up{job="postgresql"}') == 1
    assert farm.store.query('{__name__=~"ffrtmp_(node|master)_.+|ALERTS"}') == []


def test_too_many_samples_are_dropped_and_can_be_alerted_on(farm: Farm) -> None:
    exceeded = "scrape_samples_post_metric_relabeling > scrape_samples_limit"
    found = wait_until(lambda: farm.store.query(exceeded), "a target exceeds its limit")
    assert [series["metric"]["job"] for series in found] == ["cost"]
    assert farm.store.value('up{job="cost"}') == 0
    assert farm.store.query("ffrtmp_cost_many") == []
    assert "sample_limit=2000" in farm.last_error("cost")


def test_series_that_change_at_each_scrape_are_bounded(farm: Farm) -> None:
    # The metric belongs to the target from VictoriaMetrics 1.112 on, and to VictoriaMetrics before.
    dropped = (
        'scrape_series_limit_samples_dropped{job="results"} > 0'
        if supports_job_sizes(farm.release)
        else 'promscrape_series_limit_rows_dropped_total{scrape_job="results"} > 0'
    )
    wait_until(lambda: farm.store.query(dropped), "series are dropped")
    (series,) = farm.store.query("count(last_over_time(ffrtmp_result_new[10m]))")
    # VictoriaMetrics counts the series approximately.
    assert 0 < float(series["value"][1]) <= 110
    assert farm.store.value('up{job="results"}') == 1


def test_a_million_series_are_cut_off_without_affecting_other_targets(farm: Farm) -> None:
    store = farm.store
    farm.is_broken.set()
    wait_until(lambda: store.value('up{job="haproxy"}') == 0, "the target is cut off")
    # Three further scrapes of another target, none of which is missing.
    count = 'count_over_time(nginx_connections_active{job="nginx"}[1h])'
    first = store.value(count)
    assert first is not None
    wait_until(lambda: (store.value(count) or 0) >= first + 3, "three further scrapes")
    assert store.value('min_over_time(up{job="nginx"}[1h])') == 1
    assert store.query("count(haproxy_broken)") == []
    assert store.resident_bytes() < _MEMORY_MAX_BYTES
    limit = "8388608" if supports_job_sizes(farm.release) else "sample_limit=20000"
    assert limit in farm.last_error("haproxy")
    # A target that sends the usual metrics again is up again.
    farm.is_broken.clear()
    wait_until(lambda: store.value('up{job="haproxy"}') == 1, "the target is up again")
