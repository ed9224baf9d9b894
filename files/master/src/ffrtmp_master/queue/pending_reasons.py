"""Pending reasons: explanations of why queued jobs are not leased."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from ffrtmp_shared.models import Job
from ffrtmp_shared.node_models import Node
from ffrtmp_shared.states import JobState, NodeState, PendingReason
from sqlalchemy import Connection, select

from ffrtmp_master.queue.leases import is_held
from ffrtmp_master.queue.requirement_catalog import RequirementSet, unmet_requirements
from ffrtmp_master.store import nodes
from ffrtmp_master.store.schema import jobs, requirements

# The maximum number of items that a message lists. Of further items, it states only the number.
_MAX_NAMED = 5


@dataclass(frozen=True)
class NodeOccupancy:
    """All nodes, and the kinds of jobs that they hold.

    Attributes:
        nodes: All nodes by name.
        exclusive: The names of the nodes that hold an exclusive job.
        shared: The names of the nodes that hold shared jobs.
    """

    nodes: Mapping[str, Node]
    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    def is_busy(self, node: str, wanted: RequirementSet) -> bool:
        """Return whether the jobs that a node holds prevent it from getting a `wanted` job."""
        return node in self.exclusive or (wanted.exclusive and node in self.shared)


def read_occupancy(connection: Connection, seen_since: datetime) -> NodeOccupancy:
    """Read all nodes and the kinds of jobs that they hold."""
    held = connection.execute(
        select(jobs.c.leased_to, requirements.c.exclusive)
        .join_from(jobs, requirements)
        .where(is_held())
    ).all()
    return NodeOccupancy(
        {node.name: node for node in nodes.list_all(connection, seen_since)},
        exclusive=frozenset(name for name, exclusive in held if exclusive),
        shared=frozenset(name for name, exclusive in held if not exclusive),
    )


def reason_class(
    wanted: RequirementSet, not_before: datetime | None, occupancy: NodeOccupancy, now: datetime
) -> PendingReason:
    """Return the reason why a queued job is not leased, as a label for metrics.

    Offline and draining nodes are ignored. A job whose reason is `ready` waits for jobs with a
    lower rank, or is about to be claimed.

    Args:
        wanted: The requirement set of the job.
        not_before: The end of the backoff, if there is one.
        occupancy: All nodes and the kinds of jobs that they hold.
        now: The current time.

    Returns:
        The pending reason.
    """
    if not_before is not None and not_before > now:
        return PendingReason.BACKOFF
    active = [node for node in _suitable_nodes(wanted, occupancy) if node.state is NodeState.ACTIVE]
    if not active:
        return PendingReason.NO_NODE
    if all(occupancy.is_busy(node.name, wanted) for node in active):
        return PendingReason.BUSY
    return PendingReason.READY


def pending_reason(
    wanted: RequirementSet, not_before: datetime | None, occupancy: NodeOccupancy, now: datetime
) -> str:
    """Explain to a user why a queued job is not leased.

    Args:
        wanted: The requirement set of the job.
        not_before: The end of the backoff, if there is one.
        occupancy: All nodes and the kinds of jobs that they hold.
        now: The current time.

    Returns:
        The explanation.
    """
    if not_before is not None and not_before > now:
        return f"waits after a failed attempt until {not_before:%Y-%m-%dT%H:%M:%SZ}"
    suitable = _suitable_nodes(wanted, occupancy)
    if not suitable:
        return _no_node_reason(wanted, occupancy)
    obstacles = {node.name: _obstacle(node, wanted, occupancy) for node in suitable}
    if None in obstacles.values():
        return "waits for its turn"
    messages = [f"{name} {obstacle}" for name, obstacle in obstacles.items()]
    is_any_active = any(node.state is NodeState.ACTIVE for node in suitable)
    problem = "no suitable node is free" if is_any_active else "no suitable node is active"
    return f"{problem}: {_joined(messages, ', ')}"


def explain_pending(
    connection: Connection, listed_jobs: Sequence[Job], now: datetime, seen_since: datetime
) -> tuple[Job, ...]:
    """Add explanations to those of the jobs that are queued. Nodes are read at most once.

    Args:
        connection: A connection to the database.
        listed_jobs: Jobs in any state.
        now: The current time.
        seen_since: The earliest last-seen time with which a node counts as online.

    Returns:
        The jobs in the same order, with `waiting` set for those that are queued.
    """
    if not any(job.state is JobState.QUEUED for job in listed_jobs):
        return tuple(listed_jobs)
    occupancy = read_occupancy(connection, seen_since)
    # Most jobs in a list have the same requirements, so messages are reused for equal requirements.
    messages: dict[tuple[str, datetime | None], str] = {}
    explained = []
    for job in listed_jobs:
        if job.state is JobState.QUEUED:
            wanted = RequirementSet(requirements=job.requirements, exclusive=job.exclusive)
            may_start = job.not_before is None or job.not_before <= now
            not_before = None if may_start else job.not_before
            key = (wanted.key, not_before)
            if key not in messages:
                messages[key] = pending_reason(wanted, not_before, occupancy, now)
            explained.append(msgspec.structs.replace(job, waiting=messages[key]))
        else:
            explained.append(job)
    return tuple(explained)


def _suitable_nodes(wanted: RequirementSet, occupancy: NodeOccupancy) -> list[Node]:
    """Return the nodes, whatever their state, that meet the requirements of a job."""
    name = wanted.requirements.node
    if name is None:
        candidates = list(occupancy.nodes.values())
    else:
        candidates = [occupancy.nodes[name]] if name in occupancy.nodes else []
    return [
        node
        for node in candidates
        if not unmet_requirements(wanted.requirements, node.registration)
    ]


def _obstacle(node: Node, wanted: RequirementSet, occupancy: NodeOccupancy) -> str | None:
    if node.state is not NodeState.ACTIVE:
        return f"is {node.state}"
    if node.name in occupancy.exclusive:
        return "runs an exclusive job"
    if occupancy.is_busy(node.name, wanted):
        return "runs other jobs, and this job is exclusive"
    return None


def _no_node_reason(wanted: RequirementSet, occupancy: NodeOccupancy) -> str:
    if not occupancy.nodes:
        return "no node is registered"
    name = wanted.requirements.node
    if name is not None:
        if name not in occupancy.nodes:
            return f"node {name} is not registered"
        lacks = unmet_requirements(wanted.requirements, occupancy.nodes[name].registration)
        return f"node {name} lacks {', '.join(lacks)}"
    # Nodes that fail to meet the same requirements are listed together.
    alike: dict[str, list[str]] = {}
    for node in occupancy.nodes.values():
        missing = ", ".join(unmet_requirements(wanted.requirements, node.registration))
        alike.setdefault(missing, []).append(node.name)
    messages = [
        f"{_joined(names, ', ')} {'lacks' if len(names) == 1 else 'lack'} {missing}"
        for missing, names in alike.items()
    ]
    return f"no node meets the requirements: {_joined(messages, '; ')}"


def _joined(items: Sequence[str], separator: str) -> str:
    text = separator.join(items[:_MAX_NAMED])
    remaining = len(items) - _MAX_NAMED
    return text if remaining <= 0 else f"{text}{separator}and {remaining} more"
