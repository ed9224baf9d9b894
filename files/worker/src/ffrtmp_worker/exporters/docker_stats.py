"""The command `ffrtmp-exporter-docker_stats`: metrics of the host's containers."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing, ThreadLoop
from msgspec import Meta
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ffrtmp_worker.exporters.docker_engine import Containers, DockerEngine
from ffrtmp_worker.exporters.families import Family
from ffrtmp_worker.service_settings import read_settings


class DockerExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exporter's settings file."""

    exporter: ExporterSettings
    socket: Path
    """Socket of the Docker Engine or of podman."""
    pause_s: Annotated[float, Meta(gt=0)] = 5.0
    """Time between two reads, in seconds."""
    log_level: str = "info"


_GAUGES = (
    Family("ffrtmp_docker_container_memory_bytes",
            "Memory in use, without inactive cached files", "bytes", "",
            {"": "memory_bytes"}),
    Family("ffrtmp_docker_container_memory_limit_bytes",
            "Memory limit of the container; the host's memory if it has no limit",
            "bytes", "", {"": "memory_limit_bytes"}),
)  # fmt: skip

_COUNTERS = (
    Family("ffrtmp_docker_container_cpu_seconds", "CPU time since the container was started",
            "seconds", "mode", {"user": "cpu_user_s", "system": "cpu_system_s"}),
    Family("ffrtmp_docker_container_cpu_throttled_seconds",
            "Time for which the container was throttled because its CPU quota was used up",
            "seconds", "", {"": "cpu_throttled_s"}),
    Family("ffrtmp_docker_container_block_io_bytes",
            "Bytes read from and written to block devices", "bytes", "direction",
            {"read": "block_read_bytes", "write": "block_write_bytes"}),
    Family("ffrtmp_docker_container_restarts",
            "Number of restarts of the container by its restart policy", "", "",
            {"": "restarts"}),
)  # fmt: skip

# A read of many containers takes long, because each of them is inspected.
_STALE_AFTER_S = 120.0
_RETRY_PAUSE_MAX_S = 30.0

_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


class Poller:
    """Reads the containers periodically in a separate thread, so that scrapes do not wait."""

    def __init__(self, read: Callable[[], Containers], pause_s: float, loops: LoopRegistry) -> None:
        """Create a poller that reads nothing before `start`.

        Args:
            read: The function that reads the containers.
            pause_s: The time between two reads, in seconds.
            loops: The registry of the exporter's loops.
        """
        self._read = read
        self._loop = ThreadLoop(
            loops.add("containers", stale_after_s=_STALE_AFTER_S + pause_s),
            self._poll,
            Pacing(interval_s=pause_s, retry_pause_max_s=_RETRY_PAUSE_MAX_S),
        )
        self._latest = Containers(version="", containers=(), reason="not_read_yet", read_at_s=0.0)

    def start(self) -> None:
        """Start the thread, which reads until the process ends."""
        self._loop.start()

    def stop(self) -> None:
        """Stop the thread; a read in progress may outlast this."""
        self._loop.stop(timeout_s=0)

    def latest(self) -> Containers:
        """Return the result of the last read."""
        return self._latest

    def _poll(self) -> None:
        self._latest = self._read()


class DockerCollector(Collector):
    """Exposes the containers of the last read. An unknown value has no sample."""

    def __init__(self, latest: Callable[[], Containers]) -> None:
        """Expose the containers that `latest` returns."""
        self._latest = latest

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics."""
        found = self._latest()
        up = GaugeMetricFamily(
            "ffrtmp_docker_up",
            "Whether the Engine answers; reason tells why not",
            labels=["reason"],
        )
        up.add_metric([found.reason], 0.0 if found.reason else 1.0)
        yield up
        yield GaugeMetricFamily(
            "ffrtmp_docker_read_timestamp_seconds",
            "Unix time of the last read of the Engine; all other metrics are from that read",
            value=found.read_at_s,
            unit="seconds",
        )
        info = InfoMetricFamily(
            "ffrtmp_docker_container", "Each container, its image and its Engine",
            labels=["container"],
        )  # fmt: skip
        state = GaugeMetricFamily(
            "ffrtmp_docker_container_state",
            "1 for the state that the container is in",
            labels=["container", "state"],
        )
        for container in found.containers:
            info.add_metric(
                [container.name],
                {"id": container.id[:12], "image": container.image, "engine": found.version},
            )
            # podman has states that the Engine does not have.
            for name in dict.fromkeys((*_STATES, container.state)):
                state.add_metric([container.name, name], float(name == container.state))
        yield info
        yield state
        rows = [(container.name, container.values) for container in found.containers]
        yield from (family.gauge("container", rows) for family in _GAUGES)
        yield from (family.counter("container", rows) for family in _COUNTERS)
        yield from _network(found)


def _network(found: Containers) -> Iterable[Metric]:
    transferred = CounterMetricFamily(
        "ffrtmp_docker_container_network_bytes",
        "Bytes transferred by an interface of the container",
        labels=["container", "interface", "direction"],
        unit="bytes",
    )
    dropped = CounterMetricFamily(
        "ffrtmp_docker_container_network_dropped_packets",
        "Packets dropped by an interface of the container",
        labels=["container", "interface", "direction"],
    )
    for container in found.containers:
        for interface, counts in container.network.items():
            for direction, transferred_bytes, dropped_packets in (
                ("receive", counts.rx_bytes, counts.rx_dropped),
                ("transmit", counts.tx_bytes, counts.tx_dropped),
            ):
                labels = [container.name, interface, direction]
                transferred.add_metric(labels, transferred_bytes)
                dropped.add_metric(labels, dropped_packets)
    yield transferred
    yield dropped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    settings = read_settings("ffrtmp-exporter-docker_stats", arguments, DockerExporterSettings)
    registry = CollectorRegistry()
    loops = LoopRegistry()
    poller = Poller(DockerEngine(settings.socket).read, settings.pause_s, loops)
    registry.register(LoopCollector("ffrtmp_exporter", loops.read))
    poller.start()
    registry.register(DockerCollector(poller.latest))
    try:
        serve_until_stopped("docker_stats", registry, settings.exporter)
    except OSError as error:
        sys.stderr.write(f"ffrtmp-exporter-docker_stats: {error}\n")
        return 1
    return 0
