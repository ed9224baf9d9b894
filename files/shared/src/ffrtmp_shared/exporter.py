"""Exporters: HTTPS listeners that serve the metrics of collectors to hosts of the farm."""

import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ffrtmp_shared import release_info
from ffrtmp_shared.connection_table import ConnectionBounds
from ffrtmp_shared.exporter_server import ExporterServer
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry, LoopStatus
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.server_certificates import (
    CertificateCollector,
    CertificateFiles,
    ServerCertificates,
)

LISTENER_STALE_AFTER_S = 60.0
METRICS_LISTENER = "metrics"
"""The label of the certificates of listeners that only serve metrics."""


class ExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Listen address, certificates and limits of an exporter.

    A scraper must present a certificate that was issued by the CA in `client_ca_file`, so only
    hosts of the farm can read the metrics. Changed certificate files are loaded without a restart.

    Attributes:
        listen_address: The address that the exporter listens on.
        listen_port: The port that the exporter listens on; 0 selects a free port.
        certificate_file: The certificate of the exporter.
        key_file: The private key of the certificate.
        client_ca_file: The CA that issues the certificates of clients.
        crl_file: The revocation list of that CA. Without it, no certificate is considered revoked.
        connections_max: The maximum number of connections.
        connections_per_address_max: The maximum number of connections from one address.
    """

    listen_address: str
    listen_port: Annotated[int, Meta(ge=0, le=65535)]
    certificate_file: Path
    key_file: Path
    client_ca_file: Path
    crl_file: Path | None = None
    connections_max: Annotated[int, Meta(ge=1, le=1024)] = 24
    connections_per_address_max: Annotated[int, Meta(ge=1, le=1024)] = 8

    @property
    def certificate_files(self) -> CertificateFiles:
        """The files that the TLS context is loaded from."""
        return CertificateFiles(
            self.certificate_file, self.key_file, self.client_ca_file, self.crl_file
        )


class BuildInfo(Collector):
    """Exports version and revision of the exporter."""

    def collect(self) -> Iterable[Metric]:
        """Yield the metric."""
        yield release_info.build_info("exporter", "Release of this exporter")


def make_server(
    *,
    title: str,
    page: MetricPage,
    certificates: ServerCertificates,
    settings: ExporterSettings,
    loop: LoopStatus,
    is_ready: Callable[[], bool] = lambda: True,
) -> ExporterServer:
    """Open the server of an exporter.

    Args:
        title: The heading of the landing page.
        page: The metrics of the exporter.
        certificates: The certificates of the server.
        settings: Listen address and limits.
        loop: The record of the server's loop.
        is_ready: Returns whether the metrics are complete; until then, they are not served.

    Raises:
        OSError: The port is in use.
    """
    return ExporterServer(
        title=title,
        page=page,
        certificates=certificates,
        address=(settings.listen_address, settings.listen_port),
        limits=ConnectionBounds(settings.connections_max, settings.connections_per_address_max),
        loop=loop,
        is_ready=is_ready,
    )


def own_collectors() -> dict[str, Collector]:
    """Return the collectors of every exporter: its release, and the resource use of its process."""
    process = ProcessCollector(registry=CollectorRegistry())
    return {"build": BuildInfo(), "process": process}


def serve_until_stopped(
    name: str,
    collectors: Mapping[str, Collector],
    settings: ExporterSettings,
    loops: LoopRegistry | None = None,
    is_ready: Callable[[], bool] = lambda: True,
) -> None:
    """Serve the metrics of `collectors` over mutual TLS until SIGTERM or SIGINT.

    The release, the CPU time and memory of the process, the state of the loops, and the dates of
    the certificates are served as well.

    Args:
        name: Name of the exporter.
        collectors: Collectors of the exporter, by name.
        settings: Listen address, certificates and limits.
        loops: The loops of the exporter, to which that of the server is added.
        is_ready: Returns whether the metrics are complete; until then, requests for them are
            answered with the status 503.

    Raises:
        OSError: The port is in use, or a certificate file cannot be read.
        ValueError: A certificate file is not valid.
    """
    stopped = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopped.set())
    title = f"ffmpeg-rtmp exporter {name}"
    loops = loops or LoopRegistry()
    listener = loops.add("listener", stale_after_s=LISTENER_STALE_AFTER_S)
    certificates = ServerCertificates(settings.certificate_files)
    own = {
        **own_collectors(),
        "loops": LoopCollector("ffrtmp_exporter", loops.read),
        "certificates": CertificateCollector({METRICS_LISTENER: certificates}),
    }
    page = MetricPage({**collectors, **own})
    with make_server(
        title=title,
        page=page,
        certificates=certificates,
        settings=settings,
        loop=listener,
        is_ready=is_ready,
    ):
        stopped.wait()
