"""Serving metrics: one HTTPS listener for a registry, for those who hold a farm certificate."""

import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, Info, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_shared import __version__


class ExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an exporter listens and with which certificate.

    With `client_ca_file` a scraper must show a certificate of that CA; metrics are then
    readable for the farm's own hosts alone.
    """

    listen_address: str
    listen_port: int
    certificate_file: Path
    key_file: Path
    client_ca_file: Path


class TimedCollector(Collector):
    """Gives what another collector gives, and then how long that took to gather."""

    def __init__(self, timed: Collector) -> None:
        """Time `timed`, which may be a whole registry."""
        self._timed = timed

    def collect(self) -> Iterable[Metric]:
        """Give all metrics; the duration is that of this very collection, not of one before."""
        started = time.perf_counter()
        # All at once: what the caller does with one metric is not to count for the next.
        gathered = tuple(self._timed.collect())
        duration = GaugeMetricFamily(
            "ffrtmp_exporter_collection_duration_seconds",
            "Time that this scrape's metrics took to gather",
            value=time.perf_counter() - started,
            unit="seconds",
        )
        return (*gathered, duration)


def register_build_info(name: str, registry: CollectorRegistry) -> None:
    """Have `registry` say which exporter it is and what its process uses."""
    ProcessCollector(registry=registry)
    info = Info(
        "ffrtmp_exporter", "Which exporter this is, and of which release", registry=registry
    )
    info.info({"exporter": name, "version": __version__})


def serve_until_stopped(name: str, registry: CollectorRegistry, settings: ExporterSettings) -> None:
    """Serve `registry` over mutual TLS until SIGTERM or SIGINT, and beside it who serves it.

    Also what that costs: the process's own CPU time and memory, and each collection's duration.

    Raises OSError when the port is taken or a file of the certificate cannot be read.
    """
    register_build_info(name, registry)
    served = CollectorRegistry()
    served.register(TimedCollector(registry))
    stopped = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopped.set())
    server, thread = start_http_server(
        settings.listen_port,
        addr=settings.listen_address,
        registry=served,
        certfile=str(settings.certificate_file),
        keyfile=str(settings.key_file),
        client_cafile=str(settings.client_ca_file),
        client_auth_required=True,
    )
    stopped.wait()
    server.shutdown()
    thread.join()
