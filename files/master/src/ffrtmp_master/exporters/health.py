"""The health exporter, which reports the states of the master, nodes, runs and all components."""

import argparse
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from ffrtmp_shared import config, credentials, logs, release_info
from ffrtmp_shared.client import MasterClient, MasterUnreachableError
from ffrtmp_shared.exporter import serve_until_stopped
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.models import Run
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.states import JobState, RunState
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters.health_settings import HealthExporterSettings
from ffrtmp_master.exporters.node_metrics import node_metrics
from ffrtmp_master.exporters.polling import PollingCollector
from ffrtmp_master.exporters.probe_service import ProbeService
from ffrtmp_master.exporters.run_history import RunApi, RunHistory
from ffrtmp_master.exporters.unit_names import UnitNames

_PROGRAM = "ffrtmp-exporter-health"
_FAILED = 1
_BAD_CONFIG = 2


class FarmApi(RunApi, Protocol):
    """The calls of the master's API that the exporter uses."""

    def is_ready(self) -> bool:
        """Return whether the master is ready to serve requests."""

    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes."""


@dataclass(frozen=True)
class Health:
    """The state of the farm at one moment.

    Attributes:
        is_ready: Whether the master can serve.
        nodes: All nodes.
        runs: The unfinished runs.
        unit_names: The names of failed units to show, by the name of the node.
    """

    is_ready: bool
    nodes: Sequence[Node] = ()
    runs: Collection[Run] = ()
    unit_names: Mapping[str, Sequence[str]] = field(default_factory=dict)


class FarmHealth(Collector):
    """Exports the state of the farm at the last refresh.

    While the master is unreachable, the metrics of nodes and runs are omitted, because they would
    be outdated.
    """

    def __init__(self) -> None:
        """Create the collector. Until the first refresh, the master is reported as not ready."""
        self._lock = threading.Lock()
        self._health = Health(is_ready=False)
        self._known_nodes: Sequence[Node] = ()
        self._history = RunHistory()
        self._unit_names = UnitNames()
        self._is_complete = False

    def is_complete(self) -> bool:
        """Return whether the state has been determined once; an unreachable master is a state."""
        return self._is_complete

    def refresh(self, api: FarmApi) -> None:
        """Read the state from the API.

        If that fails, the master is reported as not ready and the exception is passed on. A master
        that is not ready is also a failure, because nothing is read from it.
        """
        health = Health(is_ready=False)
        try:
            _check_ready(api)
            nodes = api.nodes()
            self._known_nodes = nodes
            self._history.update(api)
            runs = self._history.unfinished.values()
            health = Health(True, nodes, runs, self._unit_names.update(nodes))
        finally:
            with self._lock:
                self._health = health
            self._is_complete = True

    def nodes(self) -> Sequence[Node]:
        """Return the nodes at the last refresh; none if the master was unreachable."""
        with self._lock:
            return self._health.nodes

    def known_nodes(self) -> Sequence[Node]:
        """Return the nodes that the master last returned, also while it is unreachable."""
        return self._known_nodes

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        with self._lock:
            health = self._health
        yield from self.metrics_of(health)

    def metrics_of(self, health: Health) -> Iterable[Metric]:
        """Yield the metrics for a state."""
        yield GaugeMetricFamily(
            "ffrtmp_master_ready", "Whether the master can serve", float(health.is_ready)
        )
        if health.is_ready:
            yield from node_metrics(health.nodes, health.unit_names)
            yield from _run_metrics(health.runs)
        yield _ended(dict(self._history.ended))


def _check_ready(api: FarmApi) -> None:
    if not api.is_ready():
        raise MasterUnreachableError("the master is not ready")


def _run_metrics(runs: Collection[Run]) -> Iterable[Metric]:
    jobs = GaugeMetricFamily(
        "ffrtmp_run_jobs", "Jobs of all unfinished runs, by state", labels=["state"]
    )
    for job_state in JobState:
        jobs.add_metric([job_state], sum(run.counts.get(job_state, 0) for run in runs))
    unfinished = GaugeMetricFamily("ffrtmp_runs", "All unfinished runs, by state", labels=["state"])
    states = Counter(run.state for run in runs)
    for run_state in RunState:
        if not run_state.is_final:
            unfinished.add_metric([run_state], states[run_state])
    return jobs, unfinished


def _ended(counts: dict[RunState, int]) -> Metric:
    ended = CounterMetricFamily(
        "ffrtmp_runs_ended",
        "Runs that ended while this exporter was running, by final state; a retried run counts "
        "each time",
        labels=["state"],
    )
    for state in RunState:
        if state.is_final:
            ended.add_metric([state], counts.get(state, 0))
    return ended


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command ffrtmp-exporter-health."""
    parser = argparse.ArgumentParser(prog=_PROGRAM)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--version", action="version", version=release_info.version_text(_PROGRAM))
    options = parser.parse_args(arguments)
    try:
        settings = config.load(options.config, HealthExporterSettings)
        logs.configure(settings.log_level)
        _serve(settings)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
        raise SystemExit(
            _BAD_CONFIG if isinstance(error, config.ConfigError) else _FAILED
        ) from None


def _serve(settings: HealthExporterSettings) -> None:
    loops = LoopRegistry()
    farm = FarmHealth()
    with ExitStack() as stack:
        probes = ProbeService(settings, farm, loops)
        collectors: dict[str, Collector] = {"probes": probes.collector}
        if settings.master_url is not None and settings.token_file is not None:
            client = stack.enter_context(
                MasterClient(
                    settings.master_url,
                    credentials.read_token(settings.token_file),
                    settings.ca_file,
                    settings.client_certificate,
                )
            )
            refresher = PollingCollector(partial(farm.refresh, client), settings.refresh_s, loops)
            collectors |= {"health": farm, "source": refresher}
            refresher.start()
            stack.callback(refresher.stop)
        probes.start()
        stack.callback(probes.stop)
        has_master = "health" in collectors
        serve_until_stopped(
            "health",
            collectors,
            settings.exporter,
            loops,
            lambda: farm.is_complete() or not has_master,
        )
