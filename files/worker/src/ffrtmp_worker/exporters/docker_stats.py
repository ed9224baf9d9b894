"""The command `ffrtmp-exporter-docker_stats`: metrics of the host's containers."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from ffrtmp_shared.source_age import SourceAge
from msgspec import Meta
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ffrtmp_worker.exporters.availability import Availability
from ffrtmp_worker.exporters.docker_engine import Containers, DockerEngine
from ffrtmp_worker.exporters.families import Family
from ffrtmp_worker.service_settings import read_settings

_log = logging.getLogger(__name__)


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

_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_OTHER_STATE = "other"


class Poller(Collector):
    """Reads the containers periodically in a separate thread, so that scrapes do not wait."""

    def __init__(self, read: Callable[[], Containers], pause_s: float) -> None:
        """Wait `pause_s` seconds between two reads; nothing is read before `start`."""
        self._read = read
        self._pause_s = pause_s
        self._age = SourceAge("the Engine")
        self._latest: Containers | None = None

    def start(self) -> None:
        """Start the thread, which reads until the process ends."""
        threading.Thread(target=self._poll, name="docker-poller", daemon=True).start()

    def is_complete(self) -> bool:
        """Return whether the Engine has been read once; an unreachable Engine is a result, too."""
        return self._latest is not None

    def latest(self) -> Containers:
        """Return the result of the last read."""
        return self._latest or _NOT_READ

    def read_once(self) -> None:
        """Read the containers; a failure is logged and exported, not raised."""
        try:
            found = self._read()
        except Exception:
            # A defect must not end the thread, because the metrics would then be outdated forever.
            _log.exception("the Engine could not be read")
            found = _DEFECT
        if found.reason:
            self._age.fail()
        else:
            self._age.succeed(found.read_at_s)
        self._latest = found

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of the source."""
        return self._age.metrics()

    def _poll(self) -> None:
        stopped = threading.Event()
        while not stopped.wait(self._pause_s if self.is_complete() else 0.0):
            self.read_once()


_NOT_READ = Containers(version="", containers=(), reason="not_read_yet", read_at_s=0.0)
_DEFECT = Containers(version="", containers=(), reason="unknown_answer", read_at_s=0.0)


class DockerCollector(Collector):
    """Exposes the containers of the last read. An unknown value has no sample."""

    def __init__(self, latest: Callable[[], Containers]) -> None:
        """Expose the containers that `latest` returns."""
        self._latest = latest
        self._availability = Availability(
            "ffrtmp_docker_up", "ffrtmp_docker_failure", "Whether the Engine answers"
        )

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics."""
        found = self._latest()
        yield from self._availability.metrics(
            is_available=not found.reason, word=found.reason, reason=found.reason
        )
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
            current = container.state if container.state in _STATES else _OTHER_STATE
            for name in (*_STATES, _OTHER_STATE):
                state.add_metric([container.name, name], float(name == current))
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
    poller = Poller(DockerEngine(settings.socket).read, settings.pause_s)
    poller.start()
    collectors = {"docker": DockerCollector(poller.latest), "source": poller}
    try:
        serve_until_stopped("docker_stats", collectors, settings.exporter, poller.is_complete)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ffrtmp-exporter-docker_stats: {error}\n")
        return 1
    return 0
