"""Metrics of the nodes of a farm, from their registration and their heartbeats."""

from collections.abc import Iterable, Mapping, Sequence

from ffrtmp_shared.node_models import Node
from ffrtmp_shared.states import NodeState
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

# An older heartbeat says nothing about the present condition of the host.
_HEARTBEAT_AGE_MAX_S = 300.0


def node_metrics(
    nodes: Iterable[Node], unit_names: Mapping[str, Sequence[str]]
) -> Iterable[Metric]:
    """Return the metrics of the nodes. The condition of a host is omitted if it is outdated.

    Args:
        nodes: The nodes.
        unit_names: The names of failed units to show, by the name of the node.
    """
    nodes = tuple(nodes)
    return *_states(nodes), *_conditions(nodes, unit_names)


def _states(nodes: Iterable[Node]) -> Iterable[Metric]:
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
    suspect = GaugeMetricFamily(
        "ffrtmp_node_suspect",
        "1 if the speed of the control encode on the node has left its usual range and not "
        "returned, otherwise 0",
        labels=["node"],
    )
    for node in nodes:
        suspect.add_metric([node.name], float(node.suspicion is not None))
        if not node.was_stopped:
            up.add_metric([node.name], float(node.state is not NodeState.OFFLINE))
        seen.add_metric([node.name], node.last_seen_at.timestamp())
        for node_state in NodeState:
            state.add_metric([node.name, node_state], float(node.state is node_state))
    return up, state, seen, suspect


def _conditions(nodes: Iterable[Node], unit_names: Mapping[str, Sequence[str]]) -> Iterable[Metric]:
    offset = GaugeMetricFamily(
        "ffrtmp_node_clock_offset_seconds",
        "Time by which the clock of the node is ahead of that of the master",
        labels=["node"],
        unit="seconds",
    )
    uncertainty = GaugeMetricFamily(
        "ffrtmp_node_clock_offset_uncertainty_seconds",
        "Largest possible error of ffrtmp_node_clock_offset_seconds, half of a round trip",
        labels=["node"],
        unit="seconds",
    )
    count = GaugeMetricFamily(
        "ffrtmp_node_failed_units",
        "Failed units of systemd on the node; absent if they cannot be read",
        labels=["node"],
    )
    named = InfoMetricFamily(
        "ffrtmp_node_failed_unit",
        "The failed units of the node by name, at most 32 names a day; other for all further ones",
        labels=["node"],
    )
    for node in nodes:
        heartbeat = node.heartbeat
        if heartbeat is None or not _is_current(node):
            continue
        if heartbeat.clock is not None:
            offset.add_metric([node.name], heartbeat.clock.offset_s)
            uncertainty.add_metric([node.name], heartbeat.clock.uncertainty_s)
        if heartbeat.failed_unit_count is not None:
            count.add_metric([node.name], heartbeat.failed_unit_count)
        for unit in unit_names.get(node.name, ()):
            named.add_metric([node.name], {"unit": unit})
    return offset, uncertainty, count, named


def _is_current(node: Node) -> bool:
    """Return whether the heartbeat of an online node is recent, by the clock of the master."""
    if node.state is NodeState.OFFLINE or node.heartbeat_at is None:
        return False
    age_s = (node.last_seen_at - node.heartbeat_at).total_seconds()
    return age_s <= _HEARTBEAT_AGE_MAX_S
