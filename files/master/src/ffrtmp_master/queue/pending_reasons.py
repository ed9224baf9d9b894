"""Pending reasons: explanations of why queued jobs are not leased."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

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


class Explanation(NamedTuple):
    """The reason why queued jobs are not leased, and its explanation to people."""

    reason: PendingReason
    message: str


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


def explain(wanted: RequirementSet, occupancy: NodeOccupancy) -> Explanation:
    """Explain why a queued job that is not in backoff is not leased.

    A job whose reason is `ready` waits for jobs with a lower rank, or is about to be claimed.

    Args:
        wanted: The requirement set of the job.
        occupancy: All nodes and the kinds of jobs that they hold.

    Returns:
        The reason, for which offline and draining nodes do not count, and the message.
    """
    name = wanted.requirements.node
    if name is None:
        candidates = list(occupancy.nodes.values())
    else:
        candidates = [occupancy.nodes[name]] if name in occupancy.nodes else []
    lacking = {
        node.name: unmet_requirements(wanted.requirements, node.registration) for node in candidates
    }
    suitable = [node for node in candidates if not lacking[node.name]]
    if not suitable:
        return Explanation(PendingReason.NO_NODE, _no_node_message(name, lacking, occupancy))
    obstacles = {node.name: _obstacle(node, wanted, occupancy) for node in suitable}
    if None in obstacles.values():
        return Explanation(PendingReason.READY, "waits for its turn")
    messages = joined([f"{node} {obstacle}" for node, obstacle in obstacles.items()])
    if any(node.state is NodeState.ACTIVE for node in suitable):
        return Explanation(PendingReason.BUSY, f"no suitable node is free: {messages}")
    return Explanation(PendingReason.NO_NODE, f"no suitable node is active: {messages}")


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
                messages[key] = (
                    explain(wanted, occupancy).message
                    if not_before is None
                    else f"waits after a failed attempt until {not_before:%Y-%m-%dT%H:%M:%SZ}"
                )
            explained.append(msgspec.structs.replace(job, waiting=messages[key]))
        else:
            explained.append(job)
    return tuple(explained)


def _obstacle(node: Node, wanted: RequirementSet, occupancy: NodeOccupancy) -> str | None:
    if node.state is not NodeState.ACTIVE:
        return f"is {node.state}"
    if node.name in occupancy.exclusive:
        return "runs an exclusive job"
    if occupancy.is_busy(node.name, wanted):
        return "runs other jobs, and this job is exclusive"
    return None


def _no_node_message(
    wanted_node: str | None, lacking: Mapping[str, Sequence[str]], occupancy: NodeOccupancy
) -> str:
    """Return the message for a job that no registered node can run.

    Args:
        wanted_node: The node to which the job is bound, or None.
        lacking: What each of the nodes that may run the job lacks, by the name of the node.
        occupancy: All nodes.
    """
    if not occupancy.nodes:
        return "no node is registered"
    if wanted_node is not None:
        if wanted_node not in lacking:
            return f"node {wanted_node} is not registered"
        return f"node {wanted_node} lacks {', '.join(lacking[wanted_node])}"
    # Nodes that fail to meet the same requirements are listed together.
    alike: dict[str, list[str]] = {}
    for name, unmet in lacking.items():
        alike.setdefault(", ".join(unmet), []).append(name)
    messages = [
        f"{joined(names)} {'lacks' if len(names) == 1 else 'lack'} {missing}"
        for missing, names in alike.items()
    ]
    return f"no node meets the requirements: {joined(messages, '; ')}"


def joined(items: Sequence[str], separator: str = ", ") -> str:
    """Return the first items as text, and the number of the others."""
    text = separator.join(items[:_MAX_NAMED])
    remaining = len(items) - _MAX_NAMED
    return text if remaining <= 0 else f"{text}{separator}and {remaining} more"
