"""The health exporter, which reports whether the master is ready, and states of nodes and runs."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.models import Node, Run
from ffrtmp_shared.states import JobState, NodeState, RunState
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters import polling


@dataclass(frozen=True)
class Health:
    """The state of the farm at one moment; `runs` are the newest runs."""

    is_ready: bool
    nodes: Sequence[Node] = ()
    runs: Sequence[Run] = ()


class FarmHealth(Collector):
    """Exports the state of the farm at the last refresh.

    While the master is unreachable, the metrics of nodes and runs are omitted, because they would
    be outdated.
    """

    def __init__(self) -> None:
        """Create the collector. Until the first refresh, the master is reported as not ready."""
        self._lock = threading.Lock()
        self._health = Health(is_ready=False)

    def refresh(self, fetch: Callable[[], Health]) -> None:
        """Update the state with the result of `fetch`.

        If `fetch` raises an exception, the master is reported as not ready and the exception is
        passed on to the caller.
        """
        health = Health(is_ready=False)
        try:
            health = fetch()
        finally:
            with self._lock:
                self._health = health

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        with self._lock:
            health = self._health
        yield GaugeMetricFamily(
            "ffrtmp_master_ready", "Whether the master can serve", float(health.is_ready)
        )
        if health.is_ready:
            yield from _node_metrics(health.nodes)
            yield from _run_metrics(health.runs)


def _node_metrics(nodes: Iterable[Node]) -> Iterable[Metric]:
    up = GaugeMetricFamily("ffrtmp_node_up", "Whether the node is online", labels=["node"])
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
        up.add_metric([node.name], float(node.state is not NodeState.OFFLINE))
        seen.add_metric([node.name], node.last_seen_at.timestamp())
        for node_state in NodeState:
            state.add_metric([node.name, node_state], float(node.state is node_state))
    return up, state, seen


def _run_metrics(runs: Sequence[Run]) -> Iterable[Metric]:
    jobs = GaugeMetricFamily(
        "ffrtmp_run_jobs",
        "Jobs of unfinished runs among the newest runs, by state",
        labels=["state"],
    )
    for job_state in JobState:
        unfinished = (run for run in runs if not run.state.is_final)
        jobs.add_metric([job_state], sum(run.counts.get(job_state, 0) for run in unfinished))
    newest = GaugeMetricFamily("ffrtmp_runs", "The newest runs, by state", labels=["state"])
    states = Counter(run.state for run in runs)
    for run_state in RunState:
        newest.add_metric([run_state], states[run_state])
    return jobs, newest


def _build(client: MasterClient, _guard: ItemGuard) -> tuple[Collector, Callable[[], None]]:
    health = FarmHealth()

    def fetch() -> Health:
        if not client.is_ready():
            return Health(is_ready=False)
        return Health(is_ready=True, nodes=client.nodes(), runs=client.run_page().items)

    return health, lambda: health.refresh(fetch)


def main() -> None:
    """Run the command ffrtmp-exporter-health."""
    polling.serve_polling("health", _build)
