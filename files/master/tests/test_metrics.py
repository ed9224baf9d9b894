"""Tests of the master's metrics: counters, sizes, and exposition formats."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import in_process_master
import promtool
import pytest
from certificates import HOST, Site
from databases import only
from ffrtmp_master.server import serve
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_shared.exporter import ExporterSettings
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.server_certificates import ServerCertificates
from in_process_master import SetClock
from polling import TIMEOUT_S
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from .scrapes import Scrape

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


ACCEPT_OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def test_events_are_counted(ready_harness: Any) -> None:
    ready_harness.run(ready_harness.suite(rates=2))
    ready_harness.submit()
    ready_harness.fail(ready_harness.claim("worker1"), "network")
    ready_harness.result(ready_harness.claim("worker1"))
    ready_harness.fail(ready_harness.claim("worker1"), "encode_failed")
    value = Scrape(ready_harness)
    assert value("jobs_submitted_total") == 3
    assert value("claims_total") == 3
    assert value("results_total") == 1
    assert value("failures_total", failure_class="network") == 1
    assert value("failures_total", failure_class="encode_failed") == 1
    assert value("retries_total", failure_class="network") == 1
    assert value("retries_total", failure_class="encode_failed") is None
    assert value("jobs_finished_total", state="succeeded") == 1
    assert value("jobs_finished_total", state="failed") == 1
    assert value("jobs_finished_total", state="canceled") == 0
    assert value("lease_expiries_total") == 0
    assert value("commit_batch_operations_count") == value("commit_duration_seconds_count") > 5
    assert value("rollbacks_total") == 0


def test_series_begin_at_zero(harness: Any) -> None:
    value = Scrape(harness)
    for failure_class in FailureClass:
        assert value("failures_total", failure_class=failure_class) == 0
    assert value("jobs_queued", priority="live", reason="no_node") == 0
    assert value("jobs_held", state="leased") == 0
    assert value("nodes", state="offline") == 0


def test_an_expired_lease_is_an_expiry_and_a_failure(ready_harness: Any) -> None:
    ready_harness.submit()
    ready_harness.claim("worker1")
    ready_harness.clock.advance(61)
    ready_harness.run_maintenance()
    value = Scrape(ready_harness)
    assert value("lease_expiries_total") == 1
    assert value("failures_total", failure_class="lease_expired") == 1
    assert value("retries_total", failure_class="lease_expired") == 1


def test_durations_are_measured_with_the_clock_of_the_master(ready_harness: Any) -> None:
    ready_harness.submit()
    ready_harness.clock.advance(7)
    claim = ready_harness.claim("worker1")
    ready_harness.clock.advance(20)
    ready_harness.result(claim)
    value = Scrape(ready_harness)
    for name, seconds in (
        ("job_queue_wait", 7),
        ("attempt_run_time", 20),
        ("job_end_to_end", 27),
    ):
        assert value(f"{name}_seconds_sum") == seconds
        assert value(f"{name}_seconds_count") == 1
    assert value("job_queue_wait_seconds_bucket", le="5.0") == 0
    assert value("job_queue_wait_seconds_bucket", le="15.0") == 1


def test_a_restart_resets_counters_and_not_gauges(ready_harness: Any) -> None:
    ready_harness.submit()
    with ready_harness.restarted() as again:
        value = Scrape(again)
    assert value("jobs_submitted_total") == 0
    assert value("jobs_queued", priority="medium", reason="ready") == 1


def test_a_refused_action_is_a_rollback(harness: Any) -> None:
    harness.call("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    assert Scrape(harness)("rollbacks_total") == 1


def test_requests_are_counted_by_route_and_not_by_arbitrary_paths(ready_harness: Any) -> None:
    ready_harness.submit()
    ready_harness.result(ready_harness.claim("worker1"))
    ready_harness.claim("worker1")
    ready_harness.call("viewer", "GET", "/v1/nothing/at/all")
    ready_harness.call("viewer", "BREW", "/v1/runs")
    missing = "00000000-0000-7000-8000-000000000000"
    ready_harness.call("viewer", "GET", f"/v1/runs/{missing}")
    value = Scrape(ready_harness)
    result = "/v1/jobs/{job_id}/result"
    assert value("http_requests_total", route=result, method="POST", status="200") == 1
    claims = {"route": "/v1/claims", "method": "POST"}
    assert value("http_requests_total", **claims, status="204") == 1
    assert value("http_request_duration_seconds_count", **claims) == 2
    assert value("http_requests_total", route="unmatched", method="GET", status="404") == 1
    found = [(name, dict(labels)) for name, labels in value.samples]
    assert {labels["method"] for _, labels in found if "method" in labels} <= {
        "GET",
        "POST",
        "PUT",
        "other",
    }
    routes = {labels["route"] for _, labels in found if "route" in labels}
    assert "/v1/runs/{run_id}" in routes
    assert not any(missing in route or "nothing" in route for route in routes)


def test_the_sizes_of_the_database_and_the_disk(harness: Any, engine: str) -> None:
    value = Scrape(harness)
    # The schema has about twenty tables and indexes, each of which takes at least one page.
    assert value("database_size_bytes") > 20 * 4096
    assert (value("database_wal_size_bytes") is None) == (engine == "postgresql")
    assert value("disk_size_bytes") >= value("disk_free_bytes") > 0


def test_the_build_and_the_process_are_described(harness: Any, engine: str) -> None:
    samples = Scrape(harness).samples
    (build,) = (labels for name, labels in samples if name == "ffrtmp_master_build_info")
    assert dict(build)["database"] == engine
    assert samples["process_start_time_seconds", frozenset()] > 0
    assert samples["process_resident_memory_bytes", frozenset()] > 0


@only("sqlite")
def test_openmetrics_is_returned_to_clients_that_accept_it(ready_harness: Any) -> None:
    ready_harness.submit()
    answer = ready_harness.call(
        "viewer", "GET", "/metrics", headers={"Accept": ACCEPT_OF_PROMETHEUS}
    )
    assert answer.headers["content-type"] == OPENMETRICS
    assert answer.text.endswith("# EOF\n")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    for name, family in families.items():
        unit = next((u for u in ("seconds", "bytes", "operations") if name.endswith(u)), "")
        # The metrics of the library's process collector have no units.
        assert family.unit == ("" if name.startswith("process_") else unit)
    assert families["ffrtmp_master_jobs_submitted"].type == "counter"
    assert "ffrtmp_master_jobs_submitted_created" in answer.text


@only("sqlite")
@pytest.mark.parametrize(
    "accept",
    ["*/*", "text/plain", "text/plain, application/openmetrics-text;q=0.1", "x;q=inf", ";;=,,"],
)
def test_other_clients_get_prometheus_text(harness: Any, accept: str) -> None:
    answer = harness.call("viewer", "GET", "/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "_created" not in answer.text
    assert "# EOF" not in answer.text


def test_promtool_accepts_the_metrics(ready_harness: Any) -> None:
    ready_harness.submit()
    ready_harness.result(ready_harness.claim("worker1"))
    page = ready_harness.call("viewer", "GET", "/metrics").text
    assert promtool.complaints(page) == ""
    assert "no help text" in promtool.complaints(page.replace("# HELP ffrtmp_master_nodes ", "# "))


class Observed(Collector):
    """A collector that records how many threads call it at the same time."""

    def __init__(self) -> None:
        self.calls = self.active = self.active_max = 0
        self.overlapped = threading.Event()

    def collect(self) -> Iterable[Metric]:
        self.calls += 1
        self.active += 1
        self.active_max = max(self.active_max, self.active)
        if self.active > 1:
            self.overlapped.set()
        # A second call has this time to begin.
        self.overlapped.wait(0.3)
        self.active -= 1
        return ()


def test_both_listeners_call_a_collector_one_after_the_other(
    migrated: Settings, tmp_path: Path
) -> None:
    site, observed, clock = Site(tmp_path), Observed(), SetClock()
    settings = ExporterSettings(
        listen_address=HOST,
        listen_port=0,
        certificate_file=site.certificate_file,
        key_file=site.key_file,
        client_ca_file=site.ca_file,
    )
    certificates = ServerCertificates(settings.certificate_files)
    services = Services(migrated, clock, maintenance_interval_s=3600, certificates=observed)
    with (
        in_process_master.running_master(services, clock) as harness,
        serve._metrics_server(settings, certificates, services) as server,
        ThreadPoolExecutor() as threads,
    ):
        url = f"https://{HOST}:{server.port}/metrics"
        scraped = threads.submit(httpx.get, url, verify=site.context(), timeout=TIMEOUT_S)
        assert harness.call("viewer", "GET", "/metrics").status_code == 200
        assert scraped.result().status_code == 200
    assert (observed.calls, observed.active_max) == (2, 1)
