"""Tests of a VictoriaMetrics that has no space, or that vmalert cannot reach."""

import json
import shutil
import time
from pathlib import Path

import pytest
from certificates import Site
from polling import wait_until
from postgresql import free_port
from victoria_metrics import (
    FIRST_RELEASE_UNLESS_DEEP,
    command,
    run_service,
    run_victoria_metrics,
    settings,
    write_scrape_config,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("release", FIRST_RELEASE_UNLESS_DEEP)
def test_without_space_samples_are_refused_but_queries_are_answered(
    tmp_path: Path, release: str
) -> None:
    site = Site(tmp_path)
    port = free_port()
    with_space = settings(site, release, port, victoria_metrics_scrape_interval_s=1)
    write_scrape_config(with_space)
    now_ms = int(time.time() * 1000)
    with run_victoria_metrics(site, release, with_space) as store:
        sample = f"before 1 {now_ms}\n"
        store.http.post("/api/v1/import/prometheus", content=sample).raise_for_status()
        wait_until(lambda: store.query("last_over_time(before[1h])"), "the sample is stored")
        # The metrics of which an alert warns before there is no space.
        wait_until(lambda: store.value("sum(vm_free_disk_space_bytes)"), "it has scraped itself")
        limit = store.value("max(vm_free_disk_space_limit_bytes)")
        store.stop()
    if limit is not None:
        assert limit == 1073741824
    # The guard acts on the free space of the disk, so a limit above it is the same as a full disk.
    more_than_free = shutil.disk_usage(tmp_path).free * 2
    full = with_space | {"victoria_metrics_free_disk_bytes_min": more_than_free}
    with run_victoria_metrics(site, release, full, "full") as store:
        lines = wait_until(
            lambda: _metric(store.http.get("/metrics").text, "vm_storage_is_read_only"),
            "the metric exists",
        )
        assert float(lines[0].split()[-1]) == 1
        sample = f"after 1 {now_ms}\n"
        refused = store.http.post("/api/v1/import/prometheus", content=sample)
        # The series importer sends these samples again until they are accepted.
        assert refused.status_code == 503
        assert store.query("last_over_time(before[1h])")
        assert store.query("last_over_time(after[1h])") == []
        # Its own metrics are not stored either, so an alert must not depend on new samples.
        absent = 'absent_over_time(up{job="victoria_metrics"}[10s])'
        wait_until(lambda: store.query(absent), "there are no new samples")
        assert store.process.poll() is None


def _metric(page: str, name: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]


@pytest.mark.parametrize("release", FIRST_RELEASE_UNLESS_DEEP)
def test_vmalert_survives_an_outage_of_the_database(tmp_path: Path, release: str) -> None:
    site = Site(tmp_path)
    (tmp_path / "rules.yml").write_text(
        json.dumps({"groups": [{"name": "a", "rules": [{"alert": "Always", "expr": "vector(1)"}]}]})
    )
    database_port, port = free_port(), free_port()
    known = settings(site, release, database_port)
    write_scrape_config(known)
    variables = {
        "victoria_metrics_config_dir": str(tmp_path),
        "vmalert_config_dir": str(tmp_path),
        "vmalert_certificate_file": str(site.certificate_file),
        "vmalert_key_file": str(site.key_file),
        "vmalert_ca_file": str(site.ca_file),
        "vmalert_port": port,
        "vmalert_evaluation_interval_s": 1,
        "vmalert_datasource_url": f"https://127.0.0.1:{database_port}",
    }
    arguments = command("vmalert", "__vmalert_command", release, variables)
    with run_service(arguments, f"https://127.0.0.1:{port}", site, "vmalert") as vmalert:

        def failures() -> float:
            lines = _metric(vmalert.http.get("/metrics").text, "vmalert_execution_errors_total")
            return sum(float(line.split()[-1]) for line in lines)

        wait_until(lambda: failures() > 0, "the evaluation of a rule fails")
        assert vmalert.process.poll() is None
        with run_victoria_metrics(site, release, known) as store:
            wait_until(lambda: store.query('ALERTS{alertname="Always"}'), "the alert is stored")
        assert vmalert.process.poll() is None
