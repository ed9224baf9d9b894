"""The parts of the exporter health that probe components, connected by its settings."""

import ssl
from collections.abc import Sequence
from typing import Protocol

from ffrtmp_shared import credentials
from ffrtmp_shared.file_watch import FileWatch
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.node_models import Node

from ffrtmp_master.exporters.components import ComponentFile
from ffrtmp_master.exporters.disk_forecast import DiskForecasts
from ffrtmp_master.exporters.health_settings import HealthExporterSettings
from ffrtmp_master.exporters.probe_metrics import ComponentSelection, DiskRecorder, ProbeCollector
from ffrtmp_master.exporters.probes import Prober, ProbeTiming


class NodeRegistry(Protocol):
    """The nodes of the master."""

    def nodes(self) -> Sequence[Node]:
        """Return the nodes; none if the master is unreachable."""

    def known_nodes(self) -> Sequence[Node]:
        """Return the nodes that the master last returned, also while it is unreachable."""


class ProbeService:
    """Probes the components that the settings and the registry name, and exports the outcomes."""

    def __init__(
        self, settings: HealthExporterSettings, registry: NodeRegistry, loops: LoopRegistry
    ) -> None:
        """Create the service; `start` starts it.

        Args:
            settings: The settings of the exporter.
            registry: The nodes of the master.
            loops: The registry of the exporter's loops.

        Raises:
            OSError: A certificate file cannot be read.
            ValueError: The list of components or a certificate file is not valid.
        """
        file = settings.components_file
        listed = None if file is None else ComponentFile(file)
        selection = ComponentSelection(
            (lambda: ()) if listed is None else listed.components,
            registry.known_nodes,
            settings.components_max,
            dict if listed is None else listed.node_exporter_versions,
        )
        disks = DiskRecorder(
            DiskForecasts(
                window_s=settings.disk_window_s, history_min_s=settings.disk_history_min_s
            )
        )
        self._prober = Prober(
            selection.update,
            _ClientContext(settings).current,
            ProbeTiming(settings.probe_interval_s, settings.probe_timeout_s),
            loops,
            disks.record,
        )
        self.collector = ProbeCollector(self._prober.outcomes, registry.nodes, selection, disks)

    def start(self) -> None:
        """Start to probe."""
        self._prober.start()

    def stop(self) -> None:
        """End all probes."""
        self._prober.stop()


class _ClientContext:
    """The TLS context of probes, loaded again when its files change. Not thread-safe."""

    def __init__(self, settings: HealthExporterSettings) -> None:
        self._ca_file = settings.ca_file
        self._certificate = settings.client_certificate
        self._watch = FileWatch(
            (self._ca_file, self._certificate.certificate_file, self._certificate.key_file)
        )
        self._context = self._load()

    def current(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        changed = self._watch.load_changed(self._load)
        if changed is not None:
            self._context = changed
        return self._context

    def _load(self) -> ssl.SSLContext:
        return credentials.client_context(self._ca_file, self._certificate)
