"""The command `ffrtmp-exporter-docker_stats`: what the host's containers do and use."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
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
    """The Engine's, or podman's."""
    pause_s: Annotated[float, Meta(gt=0)] = 5.0
    """How long to wait between two looks."""
    log_level: str = "info"


_GAUGES = (
    Family("ffrtmp_docker_container_memory_bytes",
            "Memory in use, without cached files that were not used lately", "bytes", "",
            {"": "memory_bytes"}),
    Family("ffrtmp_docker_container_memory_limit_bytes",
            "Memory that the container may use; the host's where it has no limit of its own",
            "bytes", "", {"": "memory_limit_bytes"}),
)  # fmt: skip

_COUNTERS = (
    Family("ffrtmp_docker_container_cpu_seconds", "CPU time since the container was started",
            "seconds", "mode", {"user": "cpu_user_s", "system": "cpu_system_s"}),
    Family("ffrtmp_docker_container_cpu_throttled_seconds",
            "Time for which the container was held back because its CPU quota was used up",
            "seconds", "", {"": "cpu_throttled_s"}),
    Family("ffrtmp_docker_container_block_io_bytes",
            "Bytes read from and written to block devices", "bytes", "direction",
            {"read": "block_read_bytes", "write": "block_write_bytes"}),
    Family("ffrtmp_docker_container_restarts",
            "How often the Engine started the container again by its restart policy", "", "",
            {"": "restarts"}),
)  # fmt: skip

_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


class Poller:
    """Reads the containers at its own pace in a thread of its own, however slow the Engine is."""

    def __init__(self, read: Callable[[], Containers], pause_s: float) -> None:
        """Wait `pause_s` seconds between two reads; nothing is read before `start`."""
        self._read = read
        self._pause_s = pause_s
        self._latest = Containers(version="", containers=(), reason="not_read_yet", read_at_s=0.0)

    def start(self) -> None:
        """Read until the process ends."""
        threading.Thread(target=self._poll, name="lookout", daemon=True).start()

    def latest(self) -> Containers:
        """Return what was read last."""
        return self._latest

    def _poll(self) -> None:
        while True:
            self._latest = self._read()
            time.sleep(self._pause_s)


class DockerCollector(Collector):
    """Shows what was read last. What a container does not have has no value, never 0."""

    def __init__(self, latest: Callable[[], Containers]) -> None:
        """Take the containers from `latest`."""
        self._latest = latest

    def collect(self) -> Iterable[Metric]:
        """Give all metrics."""
        found = self._latest()
        up = GaugeMetricFamily(
            "ffrtmp_docker_up", "Whether the Engine answers, and if not, why", labels=["reason"]
        )
        up.add_metric([found.reason], 0.0 if found.reason else 1.0)
        yield up
        yield GaugeMetricFamily(
            "ffrtmp_docker_read_timestamp_seconds",
            "When the Engine was asked last, in seconds since 1970; all is as it was then",
            value=found.read_at_s,
            unit="seconds",
        )
        info = InfoMetricFamily(
            "ffrtmp_docker_container", "Each container, its image and its Engine",
            labels=["container"],
        )  # fmt: skip
        state = GaugeMetricFamily(
            "ffrtmp_docker_container_state",
            "Whether the container is in that state",
            labels=["container", "state"],
        )
        for one in found.containers:
            info.add_metric(
                [one.name], {"id": one.id[:12], "image": one.image, "engine": found.version}
            )
            # podman knows states that the Engine does not.
            for name in dict.fromkeys((*_STATES, one.state)):
                state.add_metric([one.name, name], float(name == one.state))
        yield info
        yield state
        rows = [(one.name, one.values) for one in found.containers]
        yield from (family.gauge("container", rows) for family in _GAUGES)
        yield from (family.counter("container", rows) for family in _COUNTERS)
        yield from _network(found)


def _network(found: Containers) -> Iterable[Metric]:
    moved = CounterMetricFamily(
        "ffrtmp_docker_container_network_bytes",
        "Bytes that went through an interface of the container",
        labels=["container", "interface", "direction"],
        unit="bytes",
    )
    dropped = CounterMetricFamily(
        "ffrtmp_docker_container_network_dropped_packets",
        "Packets that an interface of the container dropped",
        labels=["container", "interface", "direction"],
    )
    for one in found.containers:
        for interface, counts in one.network.items():
            for direction, moved_bytes, dropped_packets in (
                ("receive", counts.rx_bytes, counts.rx_dropped),
                ("transmit", counts.tx_bytes, counts.tx_dropped),
            ):
                moved.add_metric([one.name, interface, direction], moved_bytes)
                dropped.add_metric([one.name, interface, direction], dropped_packets)
    yield moved
    yield dropped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    settings = read_settings("ffrtmp-exporter-docker_stats", arguments, DockerExporterSettings)
    registry = CollectorRegistry()
    lookout = Poller(DockerEngine(settings.socket).read, settings.pause_s)
    lookout.start()
    registry.register(DockerCollector(lookout.latest))
    try:
        serve_until_stopped("docker_stats", registry, settings.exporter)
    except OSError as error:
        sys.stderr.write(f"ffrtmp-exporter-docker_stats: {error}\n")
        return 1
    return 0
