"""The tables of docs/metrics.md, generated from the metrics of the programs.

`python tests/docs/metric_tables.py` updates the tables in the page.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ffrtmp_master.exporters.health import FarmHealth, Health
from ffrtmp_master.exporters.polling import PollingCollector
from ffrtmp_master.exporters.results import LatestResults
from ffrtmp_master.store.queue_stats import DatabaseSize
from ffrtmp_master.telemetry import snapshot
from ffrtmp_master.telemetry.metrics import Metrics
from ffrtmp_master.telemetry.snapshot import FarmSnapshot
from ffrtmp_shared import exporter
from ffrtmp_shared.loop_metrics import loop_metrics
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_worker.energy.client import request_reading
from ffrtmp_worker.exporters.cpu import CpuCollector
from ffrtmp_worker.exporters.docker_engine import Container, Containers
from ffrtmp_worker.exporters.docker_stats import DockerCollector
from ffrtmp_worker.exporters.ffmpeg import SlotRegistry
from ffrtmp_worker.exporters.gpu import GpuCollector
from ffrtmp_worker.exporters.slots import SlotUseCollector
from ffrtmp_worker.measure.nvml import Gpu, Gpus
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

PAGE = Path(__file__).resolve().parents[2] / "docs/metrics.md"

_HEAD = "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
_SUFFIXES = {"counter": "_total", "info": "_info"}
# The suffixes that name a unit. Metrics with other suffixes have no unit.
_UNITS = (
    "bytes_per_second",
    "frames_per_second",
    "seconds",
    "bytes",
    "joules",
    "watts",
    "hertz",
    "celsius",
    "operations",
    "ratio",
)


def tables() -> dict[str, str]:
    """Return the tables of the page by their names."""
    return {
        "master, counted as it happens": _table(_registered(Metrics("sqlite").registry)),
        "master, read at a scrape": _table(_read_at_scrape()),
        "results": _table([*LatestResults().collect(), *_refreshed("results")]),
        "health": _table([*_health(), *_refreshed("health")]),
        "cpu": _table(
            [
                *CpuCollector(lambda: request_reading(Path("nowhere"))).collect(),
                *SlotUseCollector().collect(),
            ]
        ),
        "gpu": _table(_gpu()),
        "ffmpeg": _table(SlotRegistry().metrics()),
        "docker_stats": _table(_docker()),
        "every exporter": _table([*_every_exporter(), *_loops("ffrtmp_exporter")]),
        "loops of the master": _table(_loops("ffrtmp_master")),
        "loop of the energy reader": _table(_loops("ffrtmp_energy_reader")),
        "loop of the importer": _table(_loops("ffrtmp_importer")),
    }


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
    health = FarmHealth()
    health.refresh(lambda: Health(is_ready=True))
    return health.collect()


def _refreshed(name: str) -> Iterable[Metric]:
    return PollingCollector(name, lambda: None, 1, LoopRegistry()).collect()


def _loops(prefix: str) -> Iterable[Metric]:
    return loop_metrics(prefix, [])


def _gpu() -> Iterable[Metric]:
    gpu = Gpu(index=0, uuid="GPU-0", name="NVIDIA", values={}, throttled={})
    return GpuCollector(lambda: Gpus(driver="999", gpus=(gpu,), reason="")).collect()


def _docker() -> Iterable[Metric]:
    container = Container(name="", id="", image="", state="running", values={}, network={})
    found = Containers(version="", containers=(container,), reason="", read_at_s=0.0)
    return DockerCollector(lambda: found).collect()


def _every_exporter() -> Iterable[Metric]:
    registry = CollectorRegistry()
    exporter.register_build_info("name", registry)
    return exporter.TimedCollector(registry).collect()


def _registered(registry: CollectorRegistry) -> Iterator[tuple[Metric, tuple[str, ...]]]:
    collectors: Iterable[Collector] = registry._collector_to_names
    for collector in collectors:
        for metric in collector.collect():
            labels = tuple(getattr(collector, "_labelnames", ())) or _labels_of(metric)
            if metric.type == "histogram":
                labels = (*labels, "le")
            yield metric, labels


def _table(metrics: Iterable[Metric | tuple[Metric, tuple[str, ...]]]) -> str:
    rows = []
    for item in metrics:
        metric, labels = item if isinstance(item, tuple) else (item, _labels_of(item))
        name = metric.name + _SUFFIXES.get(metric.type, "")
        unit = next((unit for unit in _UNITS if metric.name.endswith(f"_{unit}")), "")
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
