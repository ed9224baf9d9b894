"""Tests of the master's metrics: counters, values read at a scrape, and exposition formats."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import in_process_master
import msgspec
import promtool
import pytest
from certificates import HOST, Site
from databases import only
from ffrtmp_master.queue.parked_claims import ParkedClaim
from ffrtmp_master.queue.pending_reasons import read_occupancy, reason_class
from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementSet
from ffrtmp_master.server import serve
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.schema import jobs
from ffrtmp_master.telemetry import snapshot
from ffrtmp_shared.exporter import ExporterSettings
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Job
from ffrtmp_shared.server_certificates import ServerCertificates
from ffrtmp_shared.states import JobState
from in_process_master import SetClock
from polling import TIMEOUT_S
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event, insert, select, text

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ACCEPT_OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


class Scrape:
    """The samples of one scrape of a master."""

    def __init__(self, harness: Any) -> None:
        answer = harness.call("viewer", "GET", "/metrics")
        assert answer.status_code == 200, answer.text
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parser.text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"ffrtmp_master_{name}", frozenset(labels.items())))

    def queued(self) -> dict[tuple[str, str], float]:
        return {
            (dict(labels)["priority"], dict(labels)["reason"]): value
            for (name, labels), value in self.samples.items()
            if name == "ffrtmp_master_jobs_queued" and value
        }


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


def test_queued_jobs_are_counted_by_priority_and_reason(ready_harness: Any) -> None:
    ready_harness.submit(priority="live")
    ready_harness.submit(priority="low")
    ready_harness.submit(priority="low", exclusive=False)
    ready_harness.submit("libx265", priority="high")
    assert queued_by_reason(ready_harness) == {
        ("live", "ready"): 1,
        ("low", "ready"): 2,
        ("high", "no_node"): 1,
    }
    claim = ready_harness.claim("worker1")
    value = Scrape(ready_harness)
    assert value("jobs_held", state="leased") == 1
    assert queued_by_reason(ready_harness) == {("low", "busy"): 2, ("high", "no_node"): 1}
    ready_harness.heartbeat(claim)
    assert Scrape(ready_harness)("jobs_held", state="running") == 1
    ready_harness.fail(claim, "network")
    ready_harness.register("worker2", "libx265")
    assert queued_by_reason(ready_harness) == {
        ("live", "backoff"): 1,
        ("low", "ready"): 2,
        ("high", "ready"): 1,
    }
    ready_harness.clock.advance(30)
    assert queued_by_reason(ready_harness)["live", "ready"] == 1


def test_while_a_shared_job_runs_only_shared_jobs_are_ready(ready_harness: Any) -> None:
    ready_harness.submit(exclusive=False)
    ready_harness.claim("worker1")
    ready_harness.submit(exclusive=False, priority="high")
    ready_harness.submit(exclusive=True, priority="low")
    assert queued_by_reason(ready_harness) == {("high", "ready"): 1, ("low", "busy"): 1}


def test_the_reason_follows_changes_of_the_node(ready_harness: Any) -> None:
    def reason() -> str:
        ((_, found),) = queued_by_reason(ready_harness)
        return found

    ready_harness.submit()
    assert reason() == "ready"
    ready_harness.register("worker1", "libx265")
    assert reason() == "no_node"
    ready_harness.register("worker1", "libx264")
    assert reason() == "ready"
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    assert reason() == "no_node"
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "active"})
    assert reason() == "ready"
    ready_harness.clock.advance(61)
    assert reason() == "no_node"
    ready_harness.register("worker1")
    assert reason() == "ready"
    ready_harness.ok("admin", "DELETE", "/v1/nodes/worker1")
    assert reason() == "no_node"


def queued_by_reason(harness: Any) -> dict[tuple[str, str], float]:
    """Return the number of queued jobs for each reason in the metrics.

    The numbers must agree with the jobs that the API returns.
    """
    now = harness.clock()
    heard_since = harness.services.liveness.heard_since(now)
    expected: Counter[tuple[str, str]] = Counter()

    async def load_occupancy(services: Any) -> Any:
        return await services.reader.read(lambda c: read_occupancy(c, heard_since))

    services = portal_call(harness, load_occupancy)
    for item in harness.every("/v1/jobs", state="queued"):
        job = msgspec.convert(item, Job)
        if job.state is JobState.QUEUED:
            wanted = RequirementSet(requirements=job.requirements, exclusive=job.exclusive)
            expected[job.priority, reason_class(wanted, job.not_before, services, now)] += 1
    found = Scrape(harness).queued()
    assert found == expected
    return found


def test_nodes_are_counted_by_state(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    ready_harness.register("worker3")
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker3", {"state": "draining"})
    value = Scrape(ready_harness)
    assert value("nodes", state="active") == 2
    assert value("nodes", state="draining") == 1
    ready_harness.clock.advance(61)
    ready_harness.register("worker2")
    value = Scrape(ready_harness)
    assert value("nodes", state="active") == 1
    assert value("nodes", state="offline") == 2


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


def test_a_scrape_does_not_read_finished_jobs(ready_harness: Any, engine: str) -> None:
    ready_harness.submit()
    ready_harness.result(ready_harness.claim("worker1"))
    ready_harness.submit()
    ready_harness.submit("libx265")
    ready_harness.submit()
    assert ready_harness.claim("worker1")
    portal_call(ready_harness, copy_finished)
    with statements_of_readers() as statements:
        assert Scrape(ready_harness).queued() == {
            ("medium", "busy"): 1,
            ("medium", "no_node"): 1,
        }
    of_jobs = [statement for statement in statements if "jobs" in statement[0]]
    assert len(of_jobs) == 2
    assert not [sql for sql, _ in statements if "transitions" in sql or "results" in sql]
    indexes = {"ix_jobs_queued": False, "ix_jobs_held": False}
    for statement, parameters in of_jobs:
        plan = portal_call(ready_harness, explained, engine, statement, parameters)
        used = [index for index in indexes if index in plan]
        assert len(used) == 1, plan
        assert "Seq Scan on jobs" not in plan
        indexes[used[0]] = True
    assert all(indexes.values())


def portal_call(harness: Any, do: Any, *arguments: Any) -> Any:
    with harness.client.portal() as portal:
        return portal.call(do, harness.services, *arguments)


async def copy_finished(services: Any) -> None:
    """Insert many finished jobs and update the statistics of the query planner."""

    def copy(work: Any) -> None:
        finished = work.connection.execute(select(jobs).where(jobs.c.state == "succeeded")).one()
        rows = [{**finished._mapping, "id": new_id(), "key": None} for _ in range(3000)]
        work.connection.execute(insert(jobs), rows)

    await services.writer.write(copy)
    await services.writer.write(lambda work: work.connection.execute(text("ANALYZE jobs")))


async def explained(services: Any, engine: str, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if engine == "sqlite" else "EXPLAIN"

    def read_plan(connection: Any) -> str:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(str(row) for row in rows)

    return await services.reader.read(read_plan)


@contextmanager
def statements_of_readers() -> Iterator[list[tuple[str, Any]]]:
    """Record the statements that are sent to databases within the context."""
    found: list[tuple[str, Any]] = []

    def record(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any
    ) -> None:
        found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", record)


def test_parked_claims_and_their_wakes_are_counted(ready_harness: Any) -> None:
    async def exercise(services: Any) -> tuple[Any, Any]:
        answers: list[ClaimOutcome] = [
            ClaimOutcome(None),
            ClaimOutcome(None),
            ClaimOutcome(None),
            ClaimOutcome(None),
        ]

        async def attempt() -> ClaimOutcome:
            return answers.pop()

        async def parked(wait_s: float) -> asyncio.Task[Any]:
            task = asyncio.create_task(
                services.parked_claims.wait_for_job(ParkedClaim("worker1"), attempt, wait_s)
            )
            while not len(services.parked_claims):
                await asyncio.sleep(0)
            return task

        # The first claim ends without being woken. The second claim is woken although there is no
        # job for it, and waits again.
        await (await parked(0.01))
        task = await parked(60)
        services.parked_claims.note_freed("worker1")
        while answers:
            await asyncio.sleep(0)
        waiting = await asyncio.to_thread(snapshot.take_snapshot, services.snapshot_sources)
        task.cancel()
        await asyncio.wait([task])
        return waiting, await asyncio.to_thread(snapshot.take_snapshot, services.snapshot_sources)

    during, after = portal_call(ready_harness, exercise)
    assert (during.parked, during.wakeups, during.spurious_wakeups) == (1, 1, 1)
    assert (after.parked, after.wakeups, after.spurious_wakeups) == (0, 1, 1)


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
