"""The main loop of exporters that poll the API of the master."""

import argparse
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from ffrtmp_shared import config, credentials, logs
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.exporter import serve_until_stopped
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters.settings import ApiExporterSettings

_log = logging.getLogger(__name__)

_FAILED = 1
_BAD_CONFIG = 2


class PollingCollector(Collector):
    """Calls `refresh` periodically in a thread and exports whether the last call succeeded."""

    def __init__(self, name: str, refresh: Callable[[], None], refresh_s: float) -> None:
        """Create the collector; `start` starts the thread.

        Args:
            name: The name of the exporter.
            refresh: Fetches the data from the master.
            refresh_s: The pause between two calls, in seconds.
        """
        self._name = name
        self._refresh = refresh
        self._refresh_s = refresh_s
        self._is_up = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="refresh", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling and wait for the thread."""
        self._stopped.set()
        self._thread.join()

    def poll_once(self) -> None:
        """Refresh once; a failure is logged and exported, not raised."""
        is_up = False
        try:
            self._refresh()
            is_up = True
        except (MasterUnreachableError, MasterRefusedError, msgspec.DecodeError) as error:
            _log.warning("could not fetch data from the master: %s", error)
        finally:
            self._is_up = is_up

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the exporter itself."""
        yield GaugeMetricFamily(
            f"ffrtmp_{self._name}_exporter_up",
            "Whether the last request to the master succeeded",
            float(self._is_up),
        )

    def _poll(self) -> None:
        while True:
            self.poll_once()
            if self._stopped.wait(self._refresh_s):
                return


def serve_polling(
    name: str, build: Callable[[MasterClient], tuple[Collector, Callable[[], None]]]
) -> None:
    """Run the exporter `name` until it is stopped.

    `build` returns the collector of the exporter and the function that refreshes it.
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
            collector, refresh = build(client)
            refresher = PollingCollector(name, refresh, settings.refresh_s)
            registry = CollectorRegistry()
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
