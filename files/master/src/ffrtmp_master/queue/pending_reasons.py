"""Why a queued job is not handed out now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec
from ffrtmp_shared.models import Job, Node
from ffrtmp_shared.states import JobState, NodeState
from sqlalchemy import Connection, select

from ffrtmp_master.queue.leases import is_held
from ffrtmp_master.queue.requirement_catalog import RequirementSet, unmet_requirements
from ffrtmp_master.store import nodes
from ffrtmp_master.store.schema import jobs, requirements

# So many nodes are named, and of the rest only how many they are.
_NAMED = 5


class PendingReason(StrEnum):
    """What keeps a queued job from being handed out, for counting."""

    READY = "ready"
    BACKOFF = "backoff"
    NO_NODE = "no_node"
    BUSY = "busy"


@dataclass(frozen=True)
class NodeOccupancy:
    """All nodes by name, and what they work on.

    `exclusive` are those that work on a job which wants its node for itself, `shared` those that
    work on others.
    """

    nodes: Mapping[str, Node]
    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    def is_busy(self, node: str, wanted: RequirementSet) -> bool:
        """Return whether what a node works on keeps it from a job."""
        return node in self.exclusive or (wanted.exclusive and node in self.shared)


def read_occupancy(connection: Connection, heard_since: datetime) -> NodeOccupancy:
    """Read all nodes and what they work on."""
    held = connection.execute(
        select(jobs.c.leased_to, requirements.c.exclusive)
        .join_from(jobs, requirements)
        .where(is_held())
    ).all()
    return NodeOccupancy(
        {node.name: node for node in nodes.list_all(connection, heard_since)},
        exclusive=frozenset(name for name, exclusive in held if exclusive),
        shared=frozenset(name for name, exclusive in held if not exclusive),
    )


def reason_class(
    wanted: RequirementSet, not_before: datetime | None, services: NodeOccupancy, now: datetime
) -> PendingReason:
    """Return what keeps a queued job from being handed out.

    A node that is offline or draining counts as none; a job that is ready waits for others that
    go before it, or is about to be claimed.
    """
    if not_before is not None and not_before > now:
        return PendingReason.BACKOFF
    could = [node for node in _able(wanted, services) if node.state is NodeState.ACTIVE]
    if not could:
        return PendingReason.NO_NODE
    if all(services.is_busy(node.name, wanted) for node in could):
        return PendingReason.BUSY
    return PendingReason.READY


def pending_reason(
    wanted: RequirementSet, not_before: datetime | None, services: NodeOccupancy, now: datetime
) -> str:
    """Say why a queued job is not handed out now."""
    if not_before is not None and not_before > now:
        return f"waits after a failed attempt until {not_before:%Y-%m-%dT%H:%M:%SZ}"
    able = _able(wanted, services)
    if not able:
        return _no_node(wanted, services)
    hindered = {node.name: _obstacle(node, wanted, services) for node in able}
    if None in hindered.values():
        return "waits for its turn"
    said = [f"{name} {what}" for name, what in hindered.items()]
    return f"no node that could do it is free: {_listed(said, ', ')}"


def explain_pending(
    connection: Connection, found: Sequence[Job], now: datetime, heard_since: datetime
) -> tuple[Job, ...]:
    """Return the jobs, those that are queued with why they wait; reads the nodes at most once."""
    if not any(job.state is JobState.QUEUED for job in found):
        return tuple(found)
    services = read_occupancy(connection, heard_since)
    # Most jobs of a list ask the same: nodes are looked through once for all of these.
    said: dict[tuple[str, datetime | None], str] = {}
    answer = []
    for job in found:
        if job.state is JobState.QUEUED:
            wanted = RequirementSet(requirements=job.requirements, exclusive=job.exclusive)
            is_over = job.not_before is None or job.not_before <= now
            not_before = None if is_over else job.not_before
            key = (wanted.key, not_before)
            if key not in said:
                said[key] = pending_reason(wanted, not_before, services, now)
            answer.append(msgspec.structs.replace(job, waiting=said[key]))
        else:
            answer.append(job)
    return tuple(answer)


def _able(wanted: RequirementSet, services: NodeOccupancy) -> list[Node]:
    """Return the nodes that meet what a job asks, whatever state they are in."""
    name = wanted.requirements.node
    if name is None:
        among = list(services.nodes.values())
    else:
        among = [services.nodes[name]] if name in services.nodes else []
    return [
        node for node in among if not unmet_requirements(wanted.requirements, node.registration)
    ]


def _obstacle(node: Node, wanted: RequirementSet, services: NodeOccupancy) -> str | None:
    if node.state is not NodeState.ACTIVE:
        return f"is {node.state}"
    if node.name in services.exclusive:
        return "works on a job that has it for itself"
    if services.is_busy(node.name, wanted):
        return "works on other jobs, and this one wants it for itself"
    return None


def _no_node(wanted: RequirementSet, services: NodeOccupancy) -> str:
    if not services.nodes:
        return "no node is registered"
    name = wanted.requirements.node
    if name is not None:
        if name not in services.nodes:
            return f"node {name} is not registered"
        lacks = unmet_requirements(wanted.requirements, services.nodes[name].registration)
        return f"node {name} lacks {', '.join(lacks)}"
    # Nodes that lack the same are told together.
    alike: dict[str, list[str]] = {}
    for node in services.nodes.values():
        missing = ", ".join(unmet_requirements(wanted.requirements, node.registration))
        alike.setdefault(missing, []).append(node.name)
    said = [
        f"{_listed(names, ', ')} {'lacks' if len(names) == 1 else 'lack'} {missing}"
        for missing, names in alike.items()
    ]
    return f"no node meets what it requires: {_listed(said, '; ')}"


def _listed(items: Sequence[str], between: str) -> str:
    named = between.join(items[:_NAMED])
    left = len(items) - _NAMED
    return named if left <= 0 else f"{named}{between}and {left} more"
