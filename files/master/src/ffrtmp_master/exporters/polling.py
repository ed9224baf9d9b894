"""The main loop of exporters that poll the API of the master."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from ffrtmp_shared import config, credentials, logs
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.exporter import serve_until_stopped
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing, ThreadLoop
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters.settings import ApiExporterSettings

_FAILED = 1
_BAD_CONFIG = 2
_LOOP = "refresh"
# A refresh reads all pages that are new since the last one, and each page may take a while.
_STALE_AFTER_S = 300.0


class PollingCollector(Collector):
    """Calls `refresh` periodically in a thread and exports whether the last call succeeded."""

    def __init__(
        self, name: str, refresh: Callable[[], None], refresh_s: float, loops: LoopRegistry
    ) -> None:
        """Create the collector; `start` starts the thread.

        Args:
            name: The name of the exporter.
            refresh: Fetches the data from the master.
            refresh_s: The pause between two calls, in seconds.
            loops: The registry of the exporter's loops.
        """
        self._name = name
        self._refresh = refresh
        self._is_up = False
        self._loop = ThreadLoop(
            loops.add(_LOOP, stale_after_s=_STALE_AFTER_S + refresh_s),
            self.poll_once,
            Pacing(interval_s=refresh_s),
            expected=(MasterUnreachableError, MasterRefusedError),
        )

    def start(self) -> None:
        """Start polling."""
        self._loop.start()

    def stop(self) -> None:
        """Stop polling and wait for the thread."""
        self._loop.stop()

    def poll_once(self) -> None:
        """Refresh once. A failure is exported, and raised to the loop, which logs it."""
        is_up = False
        try:
            self._refresh()
            is_up = True
        finally:
            self._is_up = is_up

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the exporter itself."""
        yield GaugeMetricFamily(
            f"ffrtmp_{self._name}_exporter_up",
            "Whether the last request to the master succeeded",
            float(self._is_up),
        )


def serve_polling(
    name: str, build: Callable[[MasterClient, ItemGuard], tuple[Collector, Callable[[], None]]]
) -> None:
    """Run the exporter `name` until it is stopped.

    `build` returns the collector of the exporter and the function that refreshes it. It receives
    the client of the master and the guard of the items that are read from it.
    """
    parser = argparse.ArgumentParser(prog=f"ffrtmp-exporter-{name}")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    try:
        settings = config.load(arguments.config, ApiExporterSettings)
        logs.configure(settings.log_level)
        token = credentials.read_token(settings.token_file)
        exporter = settings.exporter
        certificate = credentials.ClientCertificate(exporter.certificate_file, exporter.key_file)
        with MasterClient(settings.master_url, token, settings.ca_file, certificate) as client:
            loops = LoopRegistry()
            status = loops.add(_LOOP, stale_after_s=_STALE_AFTER_S + settings.refresh_s)
            collector, refresh = build(client, ItemGuard(status))
            refresher = PollingCollector(name, refresh, settings.refresh_s, loops)
            registry = CollectorRegistry()
            registry.register(LoopCollector("ffrtmp_exporter", loops.read))
            registry.register(collector)
            registry.register(refresher)
            refresher.start()
            serve_until_stopped(name, registry, exporter)
            refresher.stop()
    except config.ConfigError as error:
        _end(name, error, _BAD_CONFIG)
    except (OSError, ValueError) as error:
        _end(name, error, _FAILED)


def _end(name: str, error: Exception, code: int) -> None:
    sys.stderr.write(f"ffrtmp-exporter-{name}: {error}\n")
    raise SystemExit(code)
