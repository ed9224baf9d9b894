"""The main loop of exporters that poll the API of the master."""

import argparse
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
from ffrtmp_shared import config, credentials, logs, release_info
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.exporter import serve_until_stopped
from ffrtmp_shared.source_age import SourceAge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters.settings import ApiExporterSettings

_log = logging.getLogger(__name__)

_FAILED = 1
_BAD_CONFIG = 2


class PollingCollector(Collector):
    """Calls `refresh` periodically in a thread, and exports the age of what it fetched."""

    def __init__(
        self,
        refresh: Callable[[], None],
        refresh_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create the collector; `start` starts the thread.

        Args:
            refresh: Fetches the data from the master.
            refresh_s: The pause between two calls, in seconds.
            clock: Returns the Unix time in seconds.
        """
        self._clock = clock
        self._refresh = refresh
        self._refresh_s = refresh_s
        self._age = SourceAge("the master")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="refresh", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling, without waiting for a request in progress."""
        self._stopped.set()

    def poll_once(self) -> None:
        """Refresh once; a failure is logged and exported, not raised."""
        try:
            self._refresh()
        except (MasterUnreachableError, MasterRefusedError, msgspec.DecodeError) as error:
            _log.warning("could not fetch data from the master: %s", error)
            self._age.fail()
        except Exception:
            # A defect must not end the thread, because the metrics would then be outdated forever.
            _log.exception("could not fetch data from the master")
            self._age.fail()
        else:
            self._age.succeed(self._clock())

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the source."""
        return self._age.metrics()

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self.poll_once()
            self._stopped.wait(self._refresh_s)


class Polled(NamedTuple):
    """A collector, the function that refreshes it, and whether it has been complete once."""

    collector: Collector
    refresh: Callable[[], None]
    is_complete: Callable[[], bool]


Build = Callable[[MasterClient, ApiExporterSettings], Polled]


def serve_polling(name: str, build: Build) -> None:
    """Run the exporter `name` until it is stopped.

    Args:
        name: The name of the exporter.
        build: Creates the collector of the exporter.
    """
    parser = argparse.ArgumentParser(prog=f"ffrtmp-exporter-{name}")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--version", action="version", version=release_info.version_text(parser.prog)
    )
    arguments = parser.parse_args()
    try:
        settings = config.load(arguments.config, ApiExporterSettings)
        logs.configure(settings.log_level)
        token = credentials.read_token(settings.token_file)
        exporter = settings.exporter
        certificate = credentials.ClientCertificate(exporter.certificate_file, exporter.key_file)
        with MasterClient(settings.master_url, token, settings.ca_file, certificate) as client:
            polled = build(client, settings)
            refresher = PollingCollector(polled.refresh, settings.refresh_s)
            refresher.start()
            collectors = {name: polled.collector, "source": refresher}
            serve_until_stopped(name, collectors, exporter, polled.is_complete)
            refresher.stop()
    except config.ConfigError as error:
        _end(name, error, _BAD_CONFIG)
    except (OSError, ValueError) as error:
        _end(name, error, _FAILED)


def _end(name: str, error: Exception, code: int) -> None:
    sys.stderr.write(f"ffrtmp-exporter-{name}: {error}\n")
    raise SystemExit(code)
