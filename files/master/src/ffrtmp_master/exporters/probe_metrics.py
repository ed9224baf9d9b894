"""Metrics of the components of a farm, and of the disks of its hosts."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ffrtmp_shared import __version__, release_info
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.states import NodeState
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ffrtmp_master.exporters.components import Component, ProbeKind, worker_components
from ffrtmp_master.exporters.disk_forecast import DiskForecasts, DiskKey
from ffrtmp_master.exporters.probe_connections import ProbeFailure
from ffrtmp_master.exporters.probe_readings import Reading, version_matches
from ffrtmp_master.exporters.probes import ProbeOutcome

_AGENT = "agent"
_LABELS = ("component", "instance")


class ProbeState(NamedTuple):
    """The state of one component, as it is exported.

    Attributes:
        component: The name of the component.
        instance: The address of the component, or the name of the node of an agent.
        outcome: The outcome of its last probe.
        version_matches: Whether its version is the deployed one; None if either is unknown.
    """

    component: str
    instance: str
    outcome: ProbeOutcome
    version_matches: bool | None


class ComponentSelection:
    """The components to probe: those of the file, and those of the registered workers."""

    def __init__(
        self,
        listed: Callable[[], Sequence[Component]],
        nodes: Callable[[], Iterable[Node]],
        components_max: int,
        node_exporter_versions: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Create a selection.

        Args:
            listed: Returns the components of the file.
            nodes: Returns the registered nodes.
            components_max: The maximum number of components.
            node_exporter_versions: Returns the deployed versions of node_exporter by the names of
                the workers.
        """
        self._listed = listed
        self._node_exporter_versions = node_exporter_versions
        self._nodes = nodes
        self._components_max = components_max
        self.omitted = 0
        self.hosts: frozenset[str] = frozenset()

    def update(self) -> list[Component]:
        """Return the components; one that is also in the file is returned once.

        The components of a worker that was drained and is offline are left out.
        """
        nodes = (node for node in self._nodes() if not node.was_stopped)
        versions = self._node_exporter_versions()
        found = {component.key: component for component in worker_components(nodes, versions)}
        found |= {component.key: component for component in self._listed()}
        self.omitted = max(len(found) - self._components_max, 0)
        # Those of the file are the last ones, which are never omitted for the sake of a worker.
        selected = list(found.values())[self.omitted :]
        self.hosts = frozenset(
            host_of(component)
            for component in selected
            if component.probe is ProbeKind.NODE_EXPORTER
        )
        return selected


def host_of(component: Component) -> str:
    """Return the name of the host of a component."""
    return component.node or component.host


class DiskRecorder:
    """Records the free space in the responses of node_exporter. Thread-safe."""

    def __init__(self, forecasts: DiskForecasts) -> None:
        """Record the free space in `forecasts`."""
        self._forecasts = forecasts
        self._lock = threading.Lock()

    def record(self, component: Component, outcome: ProbeOutcome) -> None:
        """Record the outcome of a probe, if it is one of node_exporter that succeeded."""
        if component.probe is ProbeKind.NODE_EXPORTER and outcome.failure is None:
            with self._lock:
                self._forecasts.record(
                    host_of(component),
                    time.monotonic(),
                    outcome.reading.file_systems,
                )

    def forecasts(self, hosts: frozenset[str]) -> list[tuple[DiskKey, float]]:
        """Return the times until disks are full; those of hosts not in `hosts` are forgotten."""
        with self._lock:
            self._forecasts.keep_only(hosts)
            return list(self._forecasts.forecasts())


class ProbeCollector(Collector):
    """Exports the outcomes of probes, the states of agents, and the times until disks are full."""

    def __init__(
        self,
        outcomes: Callable[[], Sequence[tuple[Component, ProbeOutcome]]],
        nodes: Callable[[], Iterable[Node]],
        selection: ComponentSelection,
        disks: DiskRecorder,
    ) -> None:
        """Create the collector.

        Args:
            outcomes: Returns the last outcome of each component.
            nodes: Returns the registered nodes.
            selection: The components that are probed.
            disks: The free space of the hosts.
        """
        self._outcomes = outcomes
        self._nodes = nodes
        self._selection = selection
        self._disks = disks
        self._revision = release_info.revision()

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        outcomes = self._outcomes()
        states = [self._state(component, outcome) for component, outcome in outcomes]
        agents = (self._agent_state(node) for node in self._nodes() if not node.was_stopped)
        yield from probe_metrics([*states, *agents])
        yield GaugeMetricFamily(
            "ffrtmp_probe_components_omitted",
            "Components that are not probed because there are more than components_max",
            self._selection.omitted,
        )
        yield disk_metric(self._disks.forecasts(self._selection.hosts))

    def _state(self, component: Component, outcome: ProbeOutcome) -> ProbeState:
        matches = version_matches(
            outcome.reading,
            version=component.version,
            own_version=__version__,
            own_revision=self._revision,
        )
        return ProbeState(component.component, component.instance, outcome, matches)

    def _agent_state(self, node: Node) -> ProbeState:
        """Return the state of the agents of a node, which do not listen and report themselves."""
        failure = ProbeFailure.OFFLINE if node.state is NodeState.OFFLINE else None
        version = node.registration.agent_version
        reading = Reading(version, release_info.UNKNOWN, node.last_seen_at.timestamp())
        matches = version_matches(
            reading, version="", own_version=__version__, own_revision=self._revision
        )
        return ProbeState(_AGENT, node.name, ProbeOutcome(failure, 0.0, None, reading), matches)


def probe_metrics(states: Iterable[ProbeState]) -> Iterable[Metric]:
    """Return the metrics of the components."""
    success = GaugeMetricFamily(
        "ffrtmp_probe_success",
        "Whether the component responded as expected to the last probe; for an agent, whether its "
        "node is online",
        labels=_LABELS,
    )
    failure = InfoMetricFamily(
        "ffrtmp_probe_failure",
        "The reason of the failure, as a fixed word, while ffrtmp_probe_success is 0",
        labels=_LABELS,
    )
    duration = GaugeMetricFamily(
        "ffrtmp_probe_duration_seconds",
        "Duration of the last probe",
        labels=_LABELS,
        unit="seconds",
    )
    matches = GaugeMetricFamily(
        "ffrtmp_probe_version_matches",
        "Whether the running version is the deployed one; absent if either is unknown",
        labels=_LABELS,
    )
    certificate = GaugeMetricFamily(
        "ffrtmp_probe_certificate_not_after_timestamp_seconds",
        "Expiry of the certificate that the component presented",
        labels=_LABELS,
        unit="seconds",
    )
    data = GaugeMetricFamily(
        "ffrtmp_probe_data_timestamp_seconds",
        "Time of the newest data of the component; absent if its data do not become outdated",
        labels=_LABELS,
        unit="seconds",
    )
    for state in states:
        labels, outcome = (state.component, state.instance), state.outcome
        success.add_metric(labels, float(outcome.failure is None))
        if outcome.failure is not None:
            failure.add_metric(labels, {"reason": outcome.failure})
        if state.component != _AGENT:
            duration.add_metric(labels, outcome.duration_s)
        if state.version_matches is not None:
            matches.add_metric(labels, float(state.version_matches))
        if outcome.certificate_end_s is not None:
            certificate.add_metric(labels, outcome.certificate_end_s)
        if outcome.reading.data_unix_s is not None:
            data.add_metric(labels, outcome.reading.data_unix_s)
    return success, failure, duration, matches, certificate, data


def disk_metric(forecasts: Iterable[tuple[DiskKey, float]]) -> Metric:
    """Return the metric of the times until disks are full."""
    full = GaugeMetricFamily(
        "ffrtmp_node_disk_full_in_seconds",
        "Time until the disk is full if its free space continues to change as in the last hours; "
        "at most 30 days",
        labels=("node", "mountpoint"),
        unit="seconds",
    )
    for key, forecast_s in forecasts:
        full.add_metric(key, forecast_s)
    return full
