"""The health exporter, which reports whether the master is ready, and states of nodes and runs."""

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.models import Node, Run
from ffrtmp_shared.states import JobState, NodeState, RunState
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters import polling
from ffrtmp_master.exporters.run_history import RunApi, RunHistory
from ffrtmp_master.exporters.settings import ApiExporterSettings


class FarmApi(RunApi, Protocol):
    """The calls of the master's API that the exporter uses."""

    def is_ready(self) -> bool:
        """Return whether the master is ready to serve requests."""

    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes."""


@dataclass(frozen=True)
class Health:
    """The state of the farm at one moment; `runs` are the unfinished runs."""

    is_ready: bool
    nodes: Sequence[Node] = ()
    runs: Collection[Run] = ()


class FarmHealth(Collector):
    """Exports the state of the farm at the last refresh.

    While the master is unreachable, the metrics of nodes and runs are omitted, because they would
    be outdated.
    """

    def __init__(self) -> None:
        """Create the collector. Until the first refresh, the master is reported as not ready."""
        self._lock = threading.Lock()
        self._health = Health(is_ready=False)
        self._history = RunHistory()
        self._is_complete = False

    def is_complete(self) -> bool:
        """Return whether the state has been determined once; an unreachable master is a state."""
        return self._is_complete

    def refresh(self, api: FarmApi) -> None:
        """Read the state from the API.

        If that fails, the master is reported as not ready and the exception is passed on.
        """
        health = Health(is_ready=False)
        try:
            if api.is_ready():
                nodes = api.nodes()
                self._history.update(api)
                health = Health(True, nodes, self._history.unfinished.values())
        finally:
            with self._lock:
                self._health = health
            self._is_complete = True

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
            yield from _node_metrics(health.nodes)
            yield from _run_metrics(health.runs)
        yield _ended(dict(self._history.ended))


def _node_metrics(nodes: Iterable[Node]) -> Iterable[Metric]:
    up = GaugeMetricFamily(
        "ffrtmp_node_up",
        "Whether the node is online; absent if it was drained and is offline",
        labels=["node"],
    )
    state = GaugeMetricFamily(
        "ffrtmp_node_state",
        "1 for the current state of the node, 0 for the others",
        labels=["node", "state"],
    )
    seen = GaugeMetricFamily(
        "ffrtmp_node_last_seen_timestamp_seconds",
        "Time of the last request of an agent of the node",
        labels=["node"],
        unit="seconds",
    )
    for node in nodes:
        is_offline = node.state is NodeState.OFFLINE
        # A node that an operator drained and then stopped is not a failure.
        if not (is_offline and node.is_draining):
            up.add_metric([node.name], float(not is_offline))
        seen.add_metric([node.name], node.last_seen_at.timestamp())
        for node_state in NodeState:
            state.add_metric([node.name, node_state], float(node.state is node_state))
    return up, state, seen


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


def _build(
    client: MasterClient, _settings: ApiExporterSettings, _guard: ItemGuard
) -> polling.Polled:
    health = FarmHealth()
    return polling.Polled(health, lambda: health.refresh(client), health.is_complete)


def main() -> None:
    """Run the command ffrtmp-exporter-health."""
    polling.serve_polling("health", _build)
