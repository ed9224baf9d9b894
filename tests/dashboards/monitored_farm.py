"""A VictoriaMetrics with the metrics of a farm, which real programs scrape, evaluate and serve."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import role_template
from ffrtmp_master.series.import_format import METRICS, loop_lines
from ffrtmp_shared.loop_registry import LoopRegistry
from monitoring_programs import (
    HttpServer,
    run_alertmanager,
    run_node_exporter,
    run_victoria_metrics,
    run_vmalert,
)
from polling import wait_until
from ruamel.yaml import YAML

from .farm_metrics import JOBS, NODE, WORKER_JOBS, FarmMetrics

_SCRAPES = 4
_KEPT = ("honor_labels", "metric_relabel_configs")
_RULES = """
groups:
  - name: specimen
    rules:
      - {alert: Specimen, expr: vector(1), labels: {severity: warning, node: worker1}}
      - {alert: Watchdog, expr: vector(1), labels: {severity: none}}
"""
_ALERTS = 2
_ALERTMANAGER = """
route: {receiver: none}
receivers: [{name: none}]
"""


@dataclass(frozen=True)
class Farm:
    """A VictoriaMetrics with the metrics of a farm."""

    client: httpx.Client

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of a query now."""
        answer = self.client.post("/api/v1/query", data={"query": expr})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def names(self) -> set[str]:
        """Return the names of all metrics."""
        return set(self.client.get("/api/v1/label/__name__/values").json()["data"])


def _deployed_jobs() -> dict[str, dict[str, Any]]:
    """Return the labels and metrics that VictoriaMetrics keeps on a deployed farm, by the job."""
    targets = {f"victoria_metrics_{job}_targets": ["h:1"] for job in JOBS if job not in WORKER_JOBS}
    text = role_template.render(
        "victoria_metrics",
        "scrape.yml.j2",
        victoria_metrics_master_url="https://h:8080",
        victoria_metrics_job_size_limits=False,
        victoria_metrics_service_targets={"vmalert": "h:1", "alertmanager": "h:2"},
        **targets,
    )
    return {
        job["job_name"]: {name: job[name] for name in _KEPT if name in job}
        for job in YAML(typ="safe").load(text)["scrape_configs"]
    }


def _job(name: str, url: str, path: str) -> dict[str, Any]:
    target = {
        "targets": [url.removeprefix("http://")],
        "labels": {"node": NODE} if name in (*WORKER_JOBS, "node") else {},
    }
    return {"job_name": name, "metrics_path": path, "static_configs": [target]}


def _samples(now_s: float) -> str:
    labels = {"node": NODE, "scenario": "clip/x264", "kind": "live", "encoder": "libx264"}
    times = [round((now_s - age_s) * 1000) for age_s in range(5)]
    lines = [
        json.dumps({"metric": {"__name__": name, **labels}, "values": [1] * 5, "timestamps": times})
        for name, _ in METRICS.values()
    ]
    loops = LoopRegistry()
    loops.add("import", stale_after_s=60).begin()
    lines += [line.decode().strip() for line in loop_lines(loops.read())]
    return "\n".join(lines)


@contextmanager
def monitored_farm(folder: Path) -> Iterator[Farm]:
    """Run the monitoring of a farm within the context.

    Args:
        folder: A folder for the data and the settings of the programs.

    Yields:
        The database, after it has scraped every target several times.
    """
    metrics = FarmMetrics()

    def page(path: str) -> bytes | None:
        job = path.removeprefix("/")
        return metrics.page(job) if job in JOBS else None

    with (
        HttpServer(page) as exporters,
        run_node_exporter(folder) as node,
        run_alertmanager("", folder, _ALERTMANAGER) as alertmanager,
        run_victoria_metrics("", folder) as client,
        run_vmalert("", folder, _RULES, datasource=client, notifier=alertmanager) as vmalert,
    ):
        jobs = [_job(job, exporters.url, f"/{job}") for job in JOBS]
        jobs += [
            _job(name, str(service.base_url).rstrip("/"), "/metrics")
            for name, service in (
                ("node", node),
                ("victoria_metrics", client),
                ("vmalert", vmalert),
                ("alertmanager", alertmanager),
            )
        ]
        deployed = _deployed_jobs()
        jobs = [job | deployed[job["job_name"]] for job in jobs]
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
        (folder / "scrape.yml").write_text(json.dumps(config), encoding="utf-8")
        assert client.get("/-/reload").is_success
        client.post("/api/v1/import", content=_samples(time.time())).raise_for_status()
        found = Farm(client)
        counts = f"count(count_over_time(up[1m]) >= {_SCRAPES})"

        def is_scraped() -> bool:
            values = found.query(counts)
            return bool(values) and int(values[0]["value"][1]) == len(jobs)

        wait_until(is_scraped, f"all {len(jobs)} targets are scraped")
        firing = 'ALERTS{alertstate="firing"}'
        wait_until(lambda: len(found.query(firing)) == _ALERTS, "the alerts fire")
        down = found.query("up == 0")
        assert not down, down
        yield found
