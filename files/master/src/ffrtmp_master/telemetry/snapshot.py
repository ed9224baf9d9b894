"""How the farm stands at a scrape: what is read from the database then, as metrics."""

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from ffrtmp_shared.requirements import Priority
from ffrtmp_shared.states import JobState, NodeState
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection

from ffrtmp_master.queue.pending_reason_counts import Hindrances
from ffrtmp_master.queue.pending_reasons import Reason
from ffrtmp_master.store import queue_stats
from ffrtmp_master.store.priorities import priority_of
from ffrtmp_master.store.queue_stats import Size
from ffrtmp_master.store.rows import NodeRow

if TYPE_CHECKING:
    from ffrtmp_master.services import Farm


T = TypeVar("T")

_Queued = Counter[tuple[Priority, Reason]]


@dataclass(frozen=True)
class Standing:
    """The farm at one moment."""

    queued: _Queued
    held: Counter[JobState]
    nodes: Counter[NodeState]
    size: Size
    disk_bytes: int
    disk_free_bytes: int
    parked: int = 0
    wakes: int = 0
    wakes_in_vain: int = 0


async def of(farm: "Farm") -> Standing:
    """Look at the farm."""
    waiting = farm.waiting

    def look(connection: Connection) -> Standing:
        now = farm.clock()
        nodes = _nodes(connection, farm.liveness.heard_since(now))
        held = queue_stats.held(connection)
        disk = shutil.disk_usage(farm.settings.data_dir)
        return Standing(
            queued=_queued(connection, farm.hindrances, now, nodes, held),
            held=_counted((one.state, one.jobs) for one in held),
            nodes=Counter(node.state for node in nodes),
            size=queue_stats.size(connection),
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            parked=len(waiting),
            wakes=waiting.wakes,
            wakes_in_vain=waiting.wakes_in_vain,
        )

    return await farm.reader.read(look)


def _nodes(connection: Connection, heard_since: datetime) -> list[NodeRow]:
    """Return all nodes; those that were not heard since then are offline."""
    return [
        replace(node, state=NodeState.OFFLINE) if node.last_seen_at < heard_since else node
        for node in queue_stats.every_node(connection)
    ]


def _queued(
    connection: Connection,
    hindrances: Hindrances,
    now: datetime,
    nodes: list[NodeRow],
    held: list[queue_stats.Held],
) -> _Queued:
    waiting = queue_stats.waiting(connection, now)
    ids = {one.requirement_id for one in waiting}
    reasons = hindrances.of_sets(connection, ids, nodes, held)
    return _counted(
        (
            (
                priority_of(one.priority_steps),
                Reason.BACKOFF if one.is_backing_off else reasons[one.requirement_id],
            ),
            one.jobs,
        )
        for one in waiting
    )


def _counted(found: Iterable[tuple[T, int]]) -> Counter[T]:
    counts = Counter[T]()
    for thing, count in found:
        counts[thing] += count
    return counts


def families(standing: Standing) -> Iterable[Metric]:
    """Give it as metrics. What there is none of is 0, so that a series never ends."""
    queued = GaugeMetricFamily(
        "ffrtmp_master_jobs_queued",
        "Queued jobs by priority, and why they wait: ready for a free node that fits, busy (all "
        "nodes that fit work), backing off after a failure, or no active node meets what they "
        "require; read from the database",
        labels=["priority", "reason"],
    )
    for priority in Priority:
        for reason in Reason:
            queued.add_metric([priority, reason], standing.queued[priority, reason])
    yield queued
    held = GaugeMetricFamily(
        "ffrtmp_master_jobs_held",
        "Jobs that agents hold, by state; read from the database",
        labels=["state"],
    )
    for state in JobState:
        if state.holds_lease:
            held.add_metric([state], standing.held[state])
    yield held
    nodes = GaugeMetricFamily(
        "ffrtmp_master_nodes", "Nodes by state; read from the database", labels=["state"]
    )
    for node_state in NodeState:
        nodes.add_metric([node_state], standing.nodes[node_state])
    yield nodes
    yield from _claims(standing)
    yield from _room(standing)


def _claims(standing: Standing) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "ffrtmp_master_claims_parked", "Claims that wait here for a job", standing.parked
    )
    yield CounterMetricFamily(
        "ffrtmp_master_claim_wakes",
        "Parked claims that were woken because there might be a job",
        standing.wakes,
    )
    yield CounterMetricFamily(
        "ffrtmp_master_claim_wakes_in_vain",
        "Parked claims that were woken and found no job",
        standing.wakes_in_vain,
    )


def _room(standing: Standing) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "ffrtmp_master_database_size_bytes",
        "Size of the database, without SQLite's write-ahead log",
        standing.size.database_bytes,
        unit="bytes",
    )
    if standing.size.wal_bytes is not None:
        yield GaugeMetricFamily(
            "ffrtmp_master_database_wal_size_bytes",
            "Size of SQLite's write-ahead log; not there with PostgreSQL",
            standing.size.wal_bytes,
            unit="bytes",
        )
    yield GaugeMetricFamily(
        "ffrtmp_master_disk_size_bytes",
        "Size of the file system that holds the master's files",
        standing.disk_bytes,
        unit="bytes",
    )
    yield GaugeMetricFamily(
        "ffrtmp_master_disk_free_bytes",
        "Room that is left for the master on the file system that holds its files",
        standing.disk_free_bytes,
        unit="bytes",
    )
