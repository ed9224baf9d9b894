"""The main loop of exporters that poll the API of the master."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ffrtmp_shared import config, credentials, logs, release_info
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.exporter import serve_until_stopped
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, Step, ThreadLoop
from ffrtmp_shared.source_age import SourceAge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters.settings import ApiExporterSettings

_FAILED = 1
_BAD_CONFIG = 2
_LOOP = "refresh"
# A refresh reads up to a certain number of pages, and each page may take a while.
_STALE_AFTER_S = 300.0


class PollingCollector(Collector):
    """Calls `refresh` periodically in a thread, and exports the age of what it fetched."""

    def __init__(
        self,
        refresh: Step,
        refresh_s: float,
        loops: LoopRegistry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create the collector; `start` starts the thread.

        Args:
            refresh: Fetches the data from the master, and returns whether to continue immediately
                because there is more to fetch.
            refresh_s: The pause between two calls, in seconds.
            loops: The registry of the exporter's loops.
            clock: Returns the Unix time in seconds.
        """
        self._refresh = refresh
        self._clock = clock
        self._age = SourceAge("the master")
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
        """Stop polling, without waiting for a request in progress."""
        self._loop.stop(timeout_s=0)

    def poll_once(self) -> AfterPass:
        """Refresh once. A failure is exported, and raised to the loop, which logs it."""
        try:
            after = self._refresh() or AfterPass.PAUSE
        except Exception:
            self._age.fail()
            raise
        if after is AfterPass.PAUSE:
            self._age.succeed(self._clock())
        return after

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the source."""
        return self._age.metrics()


class Polled(NamedTuple):
    """A collector, the function that refreshes it, and whether it has been complete once."""

    collector: Collector
    refresh: Step
    is_complete: Callable[[], bool]


Build = Callable[[MasterClient, ApiExporterSettings, ItemGuard], Polled]
"""Creates what an exporter polls; the guard sets aside items that cannot be read."""


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
            loops = LoopRegistry()
            status = loops.add(_LOOP, stale_after_s=_STALE_AFTER_S + settings.refresh_s)
            guard = ItemGuard(status, passed_on=(MasterUnreachableError,))
            polled = build(client, settings, guard)
            refresher = PollingCollector(polled.refresh, settings.refresh_s, loops)
            refresher.start()
            collectors = {name: polled.collector, "source": refresher}
            serve_until_stopped(name, collectors, exporter, loops, polled.is_complete)
            refresher.stop()
    except config.ConfigError as error:
        _end(name, error, _BAD_CONFIG)
    except (OSError, ValueError) as error:
        _end(name, error, _FAILED)


def _end(name: str, error: Exception, code: int) -> None:
    sys.stderr.write(f"ffrtmp-exporter-{name}: {error}\n")
    raise SystemExit(code)
