"""The command `ffrtmp-exporter-docker_stats`: metrics of the host's containers."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing, ThreadLoop
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


class DockerExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exporter's settings file."""

    exporter: ExporterSettings
    socket: Path
    """Socket of the Docker Engine or of podman."""
    pause_s: Annotated[float, Meta(gt=0, le=86_400)] = 5.0
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
_OTHER_STATE = "other"


class Poller(Collector):
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
            self.read_once,
            Pacing(interval_s=pause_s, retry_pause_max_s=_RETRY_PAUSE_MAX_S),
        )
        self._age = SourceAge("the Engine")
        self._latest: Containers | None = None

    def start(self) -> None:
        """Start the thread, which reads until the process ends."""
        self._loop.start()

    def stop(self) -> None:
        """Stop the thread; a read in progress may outlast this."""
        self._loop.stop(timeout_s=0)

    def is_complete(self) -> bool:
        """Return whether the Engine has been read once; an unreachable Engine is a result, too."""
        return self._latest is not None

    def latest(self) -> Containers:
        """Return the result of the last read."""
        return self._latest or _NOT_READ

    def read_once(self) -> None:
        """Read the containers. A defect is exported, and raised to the loop, which logs it."""
        found = _DEFECT
        try:
            found = self._read()
        finally:
            self._latest = found
            if found.reason:
                self._age.fail()
            else:
                self._age.succeed(found.read_at_s)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of the source."""
        return self._age.metrics()


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
    loops = LoopRegistry()
    poller = Poller(DockerEngine(settings.socket).read, settings.pause_s, loops)
    poller.start()
    collectors = {"docker": DockerCollector(poller.latest), "source": poller}
    try:
        serve_until_stopped(
            "docker_stats", collectors, settings.exporter, loops, poller.is_complete
        )
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ffrtmp-exporter-docker_stats: {error}\n")
        return 1
    return 0
