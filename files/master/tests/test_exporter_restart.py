"""Tests of the exporters of results and costs as programs, scraped by VictoriaMetrics.

Their series are the same before and after a restart, and while the master is stopped.
"""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import factories
import httpx
import msgspec
import pytest
from databases import only
from ffrtmp_master.settings import Settings
from ffrtmp_shared.agent_models import ClaimRequest, ResultReport
from ffrtmp_shared.credentials import ClientCertificate, client_context
from ffrtmp_shared.live_measurement import LiveMeasurement
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.scenario import LiveSettings
from ffrtmp_shared.unavailable import Unavailable
from master_process import MasterProcess
from polling import TIMEOUT_S, wait_until
from postgresql import free_port

pytestmark = [pytest.mark.slow, only("sqlite")]

_ROOT = Path(__file__).resolve().parents[3]
_VICTORIA = _ROOT / ".cache/victoria-metrics/usr/bin/victoria-metrics"
_REPEATS = 6
EXPORTERS = ("results", "qoe", "cost")
# These metrics describe the process of the exporter, and not the results.
_OWN = "ffrtmp_exporter_.*|ffrtmp_scrape_.*|ffrtmp_certificate_.*"
# The mean of the last 24 complete hours may be rounded differently after an hour has ended.
_HOURLY = "ffrtmp_node_cost_per_hour"
OF_RESULTS = f'{{job=~"{"|".join(EXPORTERS)}",__name__=~"ffrtmp_.*",__name__!~"{_OWN}|{_HOURLY}"}}'

# The run has repeats, so it has an interval.
_OF_RUN = "ffrtmp_result_speed_interval_halfwidth_ratio"
_OF_RESULTS = (
    "ffrtmp_result",
    "ffrtmp_qoe",
    "ffrtmp_cost",
    "ffrtmp_carbon",
    "ffrtmp_price_book",
)
_PRICES = {
    "entries": [
        {
            "currency": "EUR",
            "source": "an example",
            "regions": {
                "de": {
                    "pue": 1.5,
                    "energy_per_kwh": 0.3,
                    "carbon_g_per_kwh": 400,
                    "carbon_method": "location_average",
                    "carbon_source": "an example",
                    "carbon_year": 2024,
                }
            },
            "nodes": {
                "worker1": {
                    "region": "de",
                    "per_hour": 0.9,
                    "embodied_kg": 876,
                    "embodied_life_years": 10,
                    "embodied_source": "an example",
                }
            },
        }
    ]
}

Series = Mapping[tuple[tuple[str, str], ...], float]


class ScrapedFarm:
    """A master with its exporters of results, and VictoriaMetrics, which scrapes them."""

    def __init__(self, master: MasterProcess, folder: Path) -> None:
        self.master = master
        self._folder = folder
        self._ports = {name: free_port() for name in EXPORTERS}
        self._exporters: dict[str, subprocess.Popen[bytes]] = {}
        self._database = httpx.Client(base_url=f"http://127.0.0.1:{free_port()}")
        certificate = ClientCertificate(master.certificate_file, master.key_file)
        self._client = httpx.Client(verify=client_context(master.ca_file, certificate))
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text("token-viewer")

    @contextmanager
    def running(self) -> Iterator["ScrapedFarm"]:
        """Run all programs within the context."""
        try:
            for name in EXPORTERS:
                self.start(name)
            with self._running_database():
                yield self
        finally:
            for name in list(self._exporters):
                self.stop(name)
            self._client.close()
            self._database.close()

    def start(self, name: str) -> None:
        """Start an exporter."""
        master = self.master
        settings = {
            "exporter": {
                "listen_address": "127.0.0.1",
                "listen_port": self._ports[name],
                "certificate_file": str(master.certificate_file),
                "key_file": str(master.key_file),
                "client_ca_file": str(master.ca_file),
            },
            "master_url": master.url,
            "token_file": str(self._folder / "token"),
            "ca_file": str(master.ca_file),
            "refresh_s": 0.2,
        }
        config = self._folder / f"{name}.yml"
        config.write_text(json.dumps(settings))
        program = f"from ffrtmp_master.exporters.{name} import main; main()"
        with (self._folder / f"{name}.log").open("ab") as log:
            self._exporters[name] = subprocess.Popen(
                [sys.executable, "-c", program, "--config", config], stdout=log, stderr=log
            )

    def stop(self, name: str) -> None:
        """Stop an exporter."""
        process = self._exporters.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)

    def page(self, name: str) -> str:
        """Return the metrics of an exporter, or an empty text if it does not serve them."""
        try:
            answer = self._client.get(f"https://127.0.0.1:{self._ports[name]}/metrics")
        except httpx.TransportError:
            return ""
        return answer.text if answer.status_code == 200 else ""

    def query(self, expression: str) -> Series:
        """Return the current values of an expression by their labels."""
        answer = self._database.get("/api/v1/query", params={"query": expression, "nocache": "1"})
        found = answer.raise_for_status().json()["data"]["result"]
        return {tuple(sorted(item["metric"].items())): float(item["value"][1]) for item in found}

    @contextmanager
    def _running_database(self) -> Iterator[None]:
        master = self.master
        tls = {
            "ca_file": str(master.ca_file),
            "cert_file": str(master.certificate_file),
            "key_file": str(master.key_file),
        }
        jobs = [
            {
                "job_name": name,
                "scheme": "https",
                "tls_config": tls,
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
            for name, port in self._ports.items()
        ]
        scrape = self._folder / "scrape.yml"
        scrape.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        command = [
            _VICTORIA,
            f"-storageDataPath={self._folder / 'series'}",
            f"-httpListenAddr=127.0.0.1:{self._database.base_url.port}",
            f"-promscrape.config={scrape}",
            # By default, the last 30 seconds are not visible.
            "-search.latencyOffset=0s",
        ]
        with (self._folder / "victoria.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(self._is_database_ready, "VictoriaMetrics is ready")
            yield
        finally:
            process.kill()
            process.wait()

    def _is_database_ready(self) -> bool:
        try:
            return self._database.get("/health").status_code == 200
        except httpx.TransportError:
            return False


def measured_recently(kind: str) -> Measurement:
    """Return a measurement of three hours ago.

    It is in the middle of the hours of which the costs of nodes are the mean, so that they do not
    change if another hour begins during the test.
    """
    found = factories.measurement()
    measured_at = datetime.now(UTC) - timedelta(hours=3)
    environment = msgspec.structs.replace(found.environment, measured_at=measured_at)
    found = msgspec.structs.replace(found, environment=environment)
    if kind != "live":
        return found
    names = {field.name: field.default for field in msgspec.structs.fields(LiveMeasurement)}
    numbers = {name: 1 for name, default in names.items() if default is msgspec.NODEFAULT}
    unknown = Unavailable(reason="not measured")
    return msgspec.structs.replace(
        found, output=None, quality=unknown, live=LiveMeasurement(**numbers)
    )


def store_results(master: MasterProcess) -> None:
    """Store the results of a run with repeats, and that of a live stream."""
    with master.http("submitter") as http, master.client("worker1") as agent:
        agent.register(factories.registration("worker1", more_kinds=("live",)))
        path = f"/v1/sources/{factories.CLIP_SHA256}"
        http.put(path, content=factories.CLIP).raise_for_status()
        run = {"suite": factories.suite(repeats=_REPEATS), "seed": 1}
        http.post("/v1/runs", json=run).raise_for_status()
        job = factories.job()
        job["scenario"] = msgspec.structs.replace(
            job["scenario"], name="stream", kind="live", live=LiveSettings(duration_s=60.0)
        )
        http.post("/v1/jobs", content=msgspec.json.encode(job)).raise_for_status()
        for _ in range(_REPEATS + 1):
            claim = agent.claim(ClaimRequest(node="worker1", slot=1, wait_s=5))
            assert claim is not None
            measurement = measured_recently(claim.job.scenario.kind)
            agent.report_result(
                claim.job.id, ResultReport(attempt=claim.attempt, measurement=measurement)
            )


@pytest.fixture
def farm(migrated: Settings, tmp_path: Path) -> Iterator[ScrapedFarm]:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps(_PRICES))
    settings = msgspec.structs.replace(migrated, price_book_file=prices)
    with ExitStack() as stack:
        master = stack.enter_context(MasterProcess(tmp_path, settings).serving())
        store_results(master)
        yield stack.enter_context(ScrapedFarm(master, tmp_path).running())


def test_a_restart_changes_no_series(farm: ScrapedFarm) -> None:
    wait_until(
        lambda: all(farm.query(f'up{{job="{name}"}} == 1') for name in EXPORTERS),
        "all exporters are scraped",
    )
    wait_until(lambda: farm.query(_OF_RUN), "the run is exported")
    wait_until(lambda: farm.query("ffrtmp_qoe_live_stalls"), "the stream is exported")
    samples = f"count_over_time({OF_RESULTS}[1m]) keep_metric_names"
    wait_until(lambda: min(farm.query(samples).values()) > 3, "all series have samples")
    before, before_s = farm.query(OF_RESULTS), time.monotonic()
    names = {dict(labels)["__name__"] for labels in before}
    assert {"ffrtmp_results_stored", "ffrtmp_qoe_vmaf_mean", "ffrtmp_qoe_live_stalls"} < names
    assert {
        "ffrtmp_cost_per_video_minute",
        "ffrtmp_cost_per_stream_hour",
        "ffrtmp_carbon_grams_per_video_minute",
        "ffrtmp_price_book_info",
        "ffrtmp_qoe_vmaf_per_cost",
    } < names
    hourly = farm.query(_HOURLY)
    assert len(hourly) == 4
    assert all(hourly.values())
    assert sum(farm.query("ffrtmp_results_stored").values()) == _REPEATS + 1
    for name in EXPORTERS:
        farm.stop(name)
    wait_until(lambda: len(farm.query("up == 0")) == len(EXPORTERS), "all exporters are down")
    for name in EXPORTERS:
        farm.start(name)
    wait_until(lambda: len(farm.query("up == 1")) == len(EXPORTERS), "all exporters are up")
    wait_until(lambda: farm.query(OF_RESULTS).keys() >= before.keys(), "all series are back")
    assert farm.query(OF_RESULTS) == before
    assert farm.query(_HOURLY) == pytest.approx(hourly, rel=1e-9)
    # The window covers the restart, but not the first samples of the series, because the increase
    # from nothing to a first sample is its value in VictoriaMetrics.
    window = f"[{math.ceil(time.monotonic() - before_s)}s]"
    for function in ("increase", "changes"):
        changes = farm.query(f"{function}({OF_RESULTS}{window}) keep_metric_names")
        assert changes == dict.fromkeys(before, 0.0), function
    starts = farm.query(f'changes(process_start_time_seconds{{job=~"results|qoe|cost"}}{window})')
    assert list(starts.values()) == [1.0, 1.0, 1.0]


def test_an_unavailable_master_changes_no_series(farm: ScrapedFarm) -> None:
    up = "ffrtmp_exporter_source_up"
    wait_until(lambda: len(farm.query(f"{up} == 1")) == len(EXPORTERS), "the master is read")
    wait_until(lambda: farm.query(_OF_RUN), "the run is exported")
    before = {name: of_results(farm.page(name)) for name in EXPORTERS}
    assert all(before.values())
    farm.master.end(signal.SIGKILL)
    wait_until(lambda: len(farm.query(f"{up} == 0")) == len(EXPORTERS), "the reads fail")
    assert {name: of_results(farm.page(name)) for name in EXPORTERS} == before
    assert len(farm.query("up == 1")) == len(EXPORTERS)
    farm.master.start()
    wait_until(lambda: len(farm.query(f"{up} == 1")) == len(EXPORTERS), "the master is read")
    assert {name: of_results(farm.page(name)) for name in EXPORTERS} == before


def of_results(page: str) -> list[str]:
    """Return the samples of a page that describe results."""
    return [line for line in page.splitlines() if line.startswith(_OF_RESULTS)]
