"""Running an exporter that asks the master again and again in the background."""

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
    """Calls `refresh` every `refresh_s` seconds in a thread and knows whether it last worked."""

    def __init__(self, name: str, refresh: Callable[[], None], refresh_s: float) -> None:
        """Prepare to refresh the exporter called `name`."""
        self._name = name
        self._refresh = refresh
        self._refresh_s = refresh_s
        self._works = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="refresh", daemon=True)

    def start(self) -> None:
        """Begin to refresh."""
        self._thread.start()

    def stop(self) -> None:
        """Refresh no more."""
        self._stopped.set()
        self._thread.join()

    def poll_once(self) -> None:
        """Refresh now; a master that does not answer well is logged and seen in the metrics."""
        works = False
        try:
            self._refresh()
            works = True
        except (MasterUnreachableError, MasterRefusedError, msgspec.DecodeError) as error:
            _log.warning("the master could not be asked: %s", error)
        finally:
            self._works = works

    def collect(self) -> Iterable[Metric]:
        """Give the exporter's own metrics."""
        yield GaugeMetricFamily(
            f"ffrtmp_{self._name}_exporter_up",
            "Whether the master answered when it was last asked",
            float(self._works),
        )

    def _poll(self) -> None:
        while True:
            self.poll_once()
            if self._stopped.wait(self._refresh_s):
                return


def serve_polling(
    name: str, build: Callable[[MasterClient], tuple[Collector, Callable[[], None]]]
) -> None:
    """Be the exporter `name`: read the command line, refresh, serve until stopped.

    `build` makes the collector and what refreshes it.
    """
    parser = argparse.ArgumentParser(prog=f"ffrtmp-exporter-{name}")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    try:
        settings = config.load(arguments.config, ApiExporterSettings)
        logs.configure(settings.log_level)
        token = credentials.read_token(settings.token_file)
        own = settings.exporter
        shown = credentials.ClientCertificate(own.certificate_file, own.key_file)
        with MasterClient(settings.master_url, token, settings.ca_file, shown) as client:
            collector, refresh = build(client)
            refresher = PollingCollector(name, refresh, settings.refresh_s)
            registry = CollectorRegistry()
            registry.register(collector)
            registry.register(refresher)
            refresher.start()
            serve_until_stopped(name, registry, settings.exporter)
            refresher.stop()
    except config.ConfigError as error:
        _end(name, error, _BAD_CONFIG)
    except (OSError, ValueError) as error:
        _end(name, error, _FAILED)


def _end(name: str, error: Exception, code: int) -> None:
    sys.stderr.write(f"ffrtmp-exporter-{name}: {error}\n")
    raise SystemExit(code)
