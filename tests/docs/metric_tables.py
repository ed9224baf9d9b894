"""The tables of docs/metrics.md, generated from the metrics of the programs.

`python tests/docs/metric_tables.py` updates the tables in the page.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import factories
from certificates import Site
from ffrtmp_master.exporters.components import Component, ProbeKind
from ffrtmp_master.exporters.disk_forecast import DiskForecasts
from ffrtmp_master.exporters.health import FarmHealth, Health
from ffrtmp_master.exporters.probe_connections import ProbeFailure
from ffrtmp_master.exporters.probe_metrics import ComponentSelection, DiskRecorder, ProbeCollector
from ffrtmp_master.exporters.probes import ProbeOutcome
from ffrtmp_master.exporters.unit_names import UnitNames
from ffrtmp_master.store.queue_stats import DatabaseSize
from ffrtmp_master.telemetry import snapshot
from ffrtmp_master.telemetry.metrics import Metrics
from ffrtmp_master.telemetry.snapshot import FarmSnapshot
from ffrtmp_shared import exporter
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.loop_metrics import loop_metrics
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.node_models import Node, NodeHeartbeat
from ffrtmp_shared.server_certificates import (
    CertificateCollector,
    CertificateFiles,
    ServerCertificates,
)
from ffrtmp_shared.source_age import SourceAge
from ffrtmp_shared.states import NodeState
from ffrtmp_worker.energy.client import request_reading
from ffrtmp_worker.exporters.cpu import CpuCollector, EnergyCollector
from ffrtmp_worker.exporters.docker_engine import Container, Containers
from ffrtmp_worker.exporters.docker_stats import DockerCollector
from ffrtmp_worker.exporters.ffmpeg import SlotRegistry
from ffrtmp_worker.exporters.gpu import GpuCollector
from ffrtmp_worker.exporters.slots import SlotUseCollector
from ffrtmp_worker.measure.nvml import Gpu, GpuFailure, Gpus
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from result_collectors import experience, farm_costs, latest_results

Described = tuple[Metric, tuple[str, ...]]
"""A metric and the names of its labels."""

PAGE = Path(__file__).resolve().parents[2] / "docs/metrics.md"

_HEAD = "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
_SUFFIXES = {"counter": "_total", "info": "_info"}
# The suffixes that name a unit. Metrics with other suffixes have no unit.
_UNITS = (
    "bytes_per_second",
    "frames_per_second",
    "seconds_per_frame",
    "joules_per_frame",
    "joules_per_video_minute",
    "grams_per_video_minute",
    "decibels",
    "seconds",
    "bytes",
    "joules",
    "watts",
    "hertz",
    "celsius",
    "operations",
    "ratio",
)


def metrics() -> dict[str, list[Described]]:
    """Return the metrics of each table of the page, with the names of their labels."""
    found: dict[str, Iterable[Metric | Described]] = {
        "master, counted as it happens": _registered(Metrics("sqlite").registry),
        "master, read at a scrape": _read_at_scrape(),
        "results": [*latest_results().collect(), *_source("the master")],
        "qoe": [*experience().collect(), *_source("the master")],
        "cost": [*farm_costs().collect(), *_source("the master")],
        "health": [*_health(), *_source("the master")],
        "cpu": [
            *CpuCollector().collect(),
            *EnergyCollector(lambda: request_reading(Path("nowhere"))).collect(),
            *SlotUseCollector().collect(),
        ],
        "gpu": _gpu(),
        "ffmpeg": SlotRegistry().metrics(),
        "docker_stats": [*_docker(), *_source("the Engine")],
        "every exporter": [*_every_exporter(), *_loops("ffrtmp_exporter")],
        "loops of the master": _loops("ffrtmp_master"),
        "loop of the energy reader": _loops("ffrtmp_energy_reader"),
        "loop of the importer": _loops("ffrtmp_importer"),
        "master and every exporter": [*_certificates(), *_scrape()],
    }
    return {
        name: [item if isinstance(item, tuple) else (item, _labels_of(item)) for item in items]
        for name, items in found.items()
    }


def tables() -> dict[str, str]:
    """Return the tables of the page by their names."""
    return {name: _table(described) for name, described in metrics().items()}


def unit_of(name: str) -> str:
    """Return the unit that the name of a metric ends with, or ""."""
    return next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")


def written(text: str) -> str:
    """Return the text of a page in which the tables are replaced by generated ones.

    Each table is between two comments. The first one contains the name of the table.
    """
    for name, table in tables().items():
        begin, end = f"<!-- metrics of: {name} -->\n", "<!-- end -->"
        before, marker, after = text.partition(begin)
        if not marker:
            raise ValueError(f"the page has no place for the metrics of: {name}")
        text = before + marker + table + end + after.partition(end)[2]
    return text


def _read_at_scrape() -> Iterable[Metric]:
    nothing: Counter[Any] = Counter()
    size = DatabaseSize(0, 0)
    return snapshot.snapshot_metrics(
        FarmSnapshot(nothing, nothing, nothing, size, disk_bytes=0, disk_free_bytes=0)
    )


def _health() -> Iterable[Metric]:
    """Return the metrics for a farm with a component that fails and a unit that has failed."""
    selection = ComponentSelection(lambda: (), lambda: (), components_max=1)
    disks = DiskRecorder(DiskForecasts(window_s=1, history_min_s=1))
    component = Component(component="cpu", probe=ProbeKind.EXPORTER, host="worker1", port=9510)
    failed = ProbeOutcome(ProbeFailure.TIMEOUT, duration_s=5.0)
    probes = ProbeCollector(lambda: [(component, failed)], lambda: (), selection, disks)
    heartbeat = NodeHeartbeat(failed_unit_count=1, failed_units=("nginx.service",))
    now = datetime.now(UTC)
    node = Node(
        id=new_id(),
        name="worker1",
        state=NodeState.ACTIVE,
        registration=factories.registration("worker1"),
        registered_at=now,
        last_seen_at=now,
        heartbeat=heartbeat,
        heartbeat_at=now,
    )
    health = Health(is_ready=True, nodes=(node,), unit_names=UnitNames().update([node]))
    return *FarmHealth().metrics_of(health), *probes.collect()


def _source(name: str) -> Iterable[Metric]:
    return SourceAge(name).metrics()


def _loops(prefix: str) -> Iterable[Metric]:
    return loop_metrics(prefix, [])


def _gpu() -> Iterable[Metric]:
    gpu = Gpu(index=0, uuid="GPU-0", name="NVIDIA", values={}, throttled={})
    none = Gpus(driver="", gpus=(), reason="", failure=GpuFailure.NO_GPU)
    found = Gpus(driver="999", gpus=(gpu,), reason="")
    return _with_labels(GpuCollector(lambda: none), GpuCollector(lambda: found))


def _docker() -> Iterable[Metric]:
    container = Container(name="", id="", image="", state="running", values={}, network={})
    none = Containers(version="", containers=(), reason="no_socket", read_at_s=0.0)
    found = Containers(version="", containers=(container,), reason="", read_at_s=0.0)
    return _with_labels(DockerCollector(lambda: none), DockerCollector(lambda: found))


def _with_labels(*collectors: Collector) -> Iterable[Metric]:
    """Return each metric of collectors of the same class from the one in which it has samples.

    Only a sample of an Info metric contains its labels.
    """
    for metrics in zip(*(collector.collect() for collector in collectors), strict=True):
        yield next((metric for metric in metrics if metric.samples), metrics[0])


def _every_exporter() -> Iterable[Metric]:
    for collector in exporter.own_collectors().values():
        yield from collector.collect()


def _certificates() -> Iterable[Metric]:
    with TemporaryDirectory() as folder:
        site = Site(Path(folder))
        files = CertificateFiles(site.certificate_file, site.key_file, site.ca_file)
        yield from CertificateCollector({"metrics": ServerCertificates(files)}).collect()


def _scrape() -> Iterable[Metric]:
    text = MetricPage({}).render("")[0].decode()
    for metric in text_string_to_metric_families(text):
        unit = unit_of(metric.name)
        yield GaugeMetricFamily(metric.name, metric.documentation, labels=["collector"], unit=unit)


def _registered(registry: CollectorRegistry) -> Iterator[tuple[Metric, tuple[str, ...]]]:
    collectors: Iterable[Collector] = registry._collector_to_names
    for collector in collectors:
        for metric in collector.collect():
            labels = tuple(getattr(collector, "_labelnames", ())) or _labels_of(metric)
            if metric.type == "histogram":
                labels = (*labels, "le")
            yield metric, labels


def _table(described: Iterable[Described]) -> str:
    rows = []
    for metric, labels in described:
        name = metric.name + _SUFFIXES.get(metric.type, "")
        unit = unit_of(metric.name)
        named = ", ".join(f"`{label}`" for label in labels)
        meaning = metric.documentation.rstrip(".").replace("|", "\\|")
        cells = (f"`{name}`", metric.type, unit.replace("_", " "), named, meaning)
        rows.append(f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |"))
    return _HEAD + "".join(rows)


def _labels_of(metric: Metric) -> tuple[str, ...]:
    if metric.type == "info" and metric.samples:
        # Only the sample of an Info metric has the names of the labels.
        return tuple(metric.samples[0].labels)
    return tuple(getattr(metric, "_labelnames", ()))


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
