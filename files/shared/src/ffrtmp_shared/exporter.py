"""Exporters: HTTPS listeners that serve the metrics of a registry to hosts of the farm."""

import signal
import ssl
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Info, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_shared import __version__
from ffrtmp_shared.label_values import clean_label_values


class ExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Listen address and certificates of an exporter.

    A scraper must present a certificate that was issued by the CA in `client_ca_file`, so only
    hosts of the farm can read the metrics. `crl_file` is the revocation list of this CA. Without
    it, no certificate is considered revoked.
    """

    listen_address: str
    listen_port: int
    certificate_file: Path
    key_file: Path
    client_ca_file: Path
    crl_file: Path | None = None


class TimedCollector(Collector):
    """A collector that adds the collection time to the metrics of another collector."""

    def __init__(self, timed: Collector) -> None:
        """Wrap the collector `timed`, which may be a whole registry."""
        self._timed = timed

    def collect(self) -> Iterable[Metric]:
        """Return all metrics and the duration of this collection."""
        started = time.perf_counter()
        # All metrics are collected first, so that the time in which the caller processes them is
        # not included.
        gathered = tuple(clean_label_values(self._timed.collect()))
        duration = GaugeMetricFamily(
            "ffrtmp_exporter_collection_duration_seconds",
            "Duration of collecting the metrics of this scrape",
            value=time.perf_counter() - started,
            unit="seconds",
        )
        return (*gathered, duration)


def register_build_info(name: str, registry: CollectorRegistry) -> None:
    """Add the exporter's name, version and process metrics to `registry`."""
    ProcessCollector(registry=registry)
    info = Info("ffrtmp_exporter", "Name and release of this exporter", registry=registry)
    info.info({"exporter": name, "version": __version__})


def serve_until_stopped(name: str, registry: CollectorRegistry, settings: ExporterSettings) -> None:
    """Serve `registry` over mutual TLS until SIGTERM or SIGINT.

    The name and version of the exporter, the CPU time and memory of its process, and the duration
    of each collection are served as well.

    Args:
        name: Name of the exporter.
        registry: Registry to serve.
        settings: Listen address and certificates.

    Raises:
        OSError: The port is in use, or a certificate file cannot be read.
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
    if settings.crl_file is not None:
        listener: Any = server.socket
        listener.context.load_verify_locations(settings.crl_file)
        listener.context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    stopped.wait()
    server.shutdown()
    thread.join()
