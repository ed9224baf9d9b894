"""The health exporter: whether the master serves, and how its nodes and runs stand."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.models import Node, Run
from ffrtmp_shared.states import JobState, NodeState, RunState
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters import polling


@dataclass(frozen=True)
class Health:
    """The farm at one moment; `runs` are the newest ones."""

    is_ready: bool
    nodes: Sequence[Node] = ()
    runs: Sequence[Run] = ()


class FarmHealth(Collector):
    """Keeps the farm's health as it was last seen.

    When the master does not answer, nothing is said of nodes and runs: it would be out of date.
    """

    def __init__(self) -> None:
        """Begin with a master that was not asked yet."""
        self._lock = threading.Lock()
        self._health = Health(is_ready=False)

    def refresh(self, look: Callable[[], Health]) -> None:
        """Look at the farm anew; raises what `look` raises."""
        health = Health(is_ready=False)
        try:
            health = look()
        finally:
            with self._lock:
                self._health = health

    def collect(self) -> Iterable[Metric]:
        """Give the metrics."""
        with self._lock:
            health = self._health
        yield GaugeMetricFamily(
            "ffrtmp_master_ready", "Whether the master can serve", float(health.is_ready)
        )
        if health.is_ready:
            yield from _node_metrics(health.nodes)
            yield from _run_metrics(health.runs)


def _node_metrics(nodes: Iterable[Node]) -> Iterable[Metric]:
    up = GaugeMetricFamily("ffrtmp_node_up", "Whether the node is heard of", labels=["node"])
    state = GaugeMetricFamily(
        "ffrtmp_node_state", "1 for the state that the node is in", labels=["node", "state"]
    )
    seen = GaugeMetricFamily(
        "ffrtmp_node_last_seen_timestamp_seconds",
        "When an agent of the node was last heard",
        labels=["node"],
        unit="seconds",
    )
    for node in nodes:
        up.add_metric([node.name], float(node.state is not NodeState.OFFLINE))
        seen.add_metric([node.name], node.last_seen_at.timestamp())
        for possible in NodeState:
            state.add_metric([node.name, possible], float(node.state is possible))
    return up, state, seen


def _run_metrics(runs: Sequence[Run]) -> Iterable[Metric]:
    jobs = GaugeMetricFamily(
        "ffrtmp_run_jobs", "Jobs of the runs that are not finished, by state", labels=["state"]
    )
    for job_state in JobState:
        unfinished = (run for run in runs if not run.state.is_final)
        jobs.add_metric([job_state], sum(run.counts.get(job_state, 0) for run in unfinished))
    newest = GaugeMetricFamily("ffrtmp_runs", "The newest runs, by state", labels=["state"])
    states = Counter(run.state for run in runs)
    for run_state in RunState:
        newest.add_metric([run_state], states[run_state])
    return jobs, newest


def _build(client: MasterClient) -> tuple[Collector, Callable[[], None]]:
    health = FarmHealth()

    def look() -> Health:
        if not client.is_ready():
            return Health(is_ready=False)
        return Health(is_ready=True, nodes=client.nodes(), runs=client.run_page().items)

    return health, lambda: health.refresh(look)


def main() -> None:
    """Be the command ffrtmp-exporter-health."""
    polling.serve_polling("health", _build)
