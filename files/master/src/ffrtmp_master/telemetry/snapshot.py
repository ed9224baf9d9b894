"""Metrics of the state of the farm, which is read from the database at each scrape."""

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from ffrtmp_shared.requirements import Priority
from ffrtmp_shared.states import JobState, NodeState, PendingReason
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from ffrtmp_master.clock import Clock
from ffrtmp_master.queue.liveness import Liveness
from ffrtmp_master.queue.parked_claims import ParkedClaims
from ffrtmp_master.queue.pending_reason_counts import PendingReasonCounts
from ffrtmp_master.store import queue_stats
from ffrtmp_master.store.priorities import priority_of
from ffrtmp_master.store.queue_stats import DatabaseSize
from ffrtmp_master.store.reader import Reader
from ffrtmp_master.store.rows import NodeRow

T = TypeVar("T")

# Scrapers wait for 10 s.
_TIMEOUT_S = 8.0

_Queued = Counter[tuple[Priority, PendingReason]]


@dataclass(frozen=True)
class FarmSnapshot:
    """The state of the farm at one moment."""

    queued: _Queued
    held: Counter[JobState]
    nodes: Counter[NodeState]
    size: DatabaseSize
    disk_bytes: int
    disk_free_bytes: int
    parked: int = 0
    wakeups: int = 0
    spurious_wakeups: int = 0


@dataclass(frozen=True)
class SnapshotSources:
    """The sources that a snapshot is read from.

    Attributes:
        reader: Reads the database.
        clock: The master's clock.
        liveness: Determines which nodes are offline.
        pending_reason_counts: Counts queued jobs by pending reason.
        parked_claims: The parked claims of this master.
        data_dir: A directory on the file system that holds the master's files.
    """

    reader: Reader
    clock: Clock
    liveness: Liveness
    pending_reason_counts: PendingReasonCounts
    parked_claims: ParkedClaims
    data_dir: Path


class SnapshotCollector(Collector):
    """Reads the state of the farm at each scrape."""

    def __init__(self, sources: SnapshotSources) -> None:
        """Read from `sources`."""
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """Return the metrics. Raises the errors of the database, and TimeoutError."""
        return snapshot_metrics(take_snapshot(self._sources))


def take_snapshot(sources: SnapshotSources) -> FarmSnapshot:
    """Read the state of the farm. Not to be called in the thread of the event loop.

    Raises TimeoutError if the database does not respond in time.
    """
    parked = sources.parked_claims

    def read(connection: Connection) -> FarmSnapshot:
        now = sources.clock()
        nodes = _nodes(connection, sources.liveness.heard_since(now))
        held = queue_stats.count_held(connection)
        disk = shutil.disk_usage(sources.data_dir)
        return FarmSnapshot(
            queued=_queued(connection, sources.pending_reason_counts, now, nodes, held),
            held=_counted((group.state, group.jobs) for group in held),
            nodes=Counter(node.state for node in nodes),
            size=queue_stats.database_size(connection),
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            parked=len(parked),
            wakeups=parked.wakeups,
            spurious_wakeups=parked.spurious_wakeups,
        )

    return sources.reader.read_blocking(read, _TIMEOUT_S)


def _nodes(connection: Connection, heard_since: datetime) -> list[NodeRow]:
    """Return all nodes; nodes without a request since `heard_since` are offline."""
    return [
        replace(node, state=NodeState.OFFLINE) if node.last_seen_at < heard_since else node
        for node in queue_stats.list_node_rows(connection)
    ]


def _queued(
    connection: Connection,
    pending_reason_counts: PendingReasonCounts,
    now: datetime,
    nodes: list[NodeRow],
    held: list[queue_stats.HeldCount],
) -> _Queued:
    waiting = queue_stats.count_queued(connection, now)
    ids = {group.requirement_id for group in waiting}
    reasons = pending_reason_counts.count_by_set(connection, ids, nodes, held)
    return _counted(
        (
            (
                priority_of(group.priority_steps),
                PendingReason.BACKOFF if group.is_backing_off else reasons[group.requirement_id],
            ),
            group.jobs,
        )
        for group in waiting
    )


def _counted(items: Iterable[tuple[T, int]]) -> Counter[T]:
    counts = Counter[T]()
    for item, count in items:
        counts[item] += count
    return counts


def snapshot_metrics(snapshot: FarmSnapshot) -> Iterable[Metric]:
    """Yield the metrics of a snapshot.

    The series of empty groups have the value 0, so that they do not disappear.
    """
    queued = GaugeMetricFamily(
        "ffrtmp_master_jobs_queued",
        "Queued jobs by priority and reason: ready (a suitable node is free), busy (all suitable "
        "nodes have jobs), backing off after a failure, or no active node meets the "
        "requirements; read from the database",
        labels=["priority", "reason"],
    )
    for priority in Priority:
        for reason in PendingReason:
            queued.add_metric([priority, reason], snapshot.queued[priority, reason])
    yield queued
    held = GaugeMetricFamily(
        "ffrtmp_master_jobs_held",
        "Jobs with a lease, by state; read from the database",
        labels=["state"],
    )
    for state in JobState:
        if state.holds_lease:
            held.add_metric([state], snapshot.held[state])
    yield held
    nodes = GaugeMetricFamily(
        "ffrtmp_master_nodes", "Nodes by state; read from the database", labels=["state"]
    )
    for node_state in NodeState:
        nodes.add_metric([node_state], snapshot.nodes[node_state])
    yield nodes
    yield from _claims(snapshot)
    yield from _sizes(snapshot)


def _claims(snapshot: FarmSnapshot) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "ffrtmp_master_claims_parked", "Parked claims of this master", snapshot.parked
    )
    yield CounterMetricFamily(
        "ffrtmp_master_claim_wakeups",
        "Wake-ups of parked claims because a job may be available",
        snapshot.wakeups,
    )
    yield CounterMetricFamily(
        "ffrtmp_master_claim_spurious_wakeups",
        "Wake-ups of parked claims that found no job",
        snapshot.spurious_wakeups,
    )


def _sizes(snapshot: FarmSnapshot) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "ffrtmp_master_database_size_bytes",
        "Size of the database without the write-ahead log of SQLite",
        snapshot.size.database_bytes,
        unit="bytes",
    )
    if snapshot.size.wal_bytes is not None:
        yield GaugeMetricFamily(
            "ffrtmp_master_database_wal_size_bytes",
            "Size of the write-ahead log of SQLite; absent with PostgreSQL",
            snapshot.size.wal_bytes,
            unit="bytes",
        )
    yield GaugeMetricFamily(
        "ffrtmp_master_disk_size_bytes",
        "Size of the file system with the data of the master",
        snapshot.disk_bytes,
        unit="bytes",
    )
    yield GaugeMetricFamily(
        "ffrtmp_master_disk_free_bytes",
        "Free space for the master on the file system with its data",
        snapshot.disk_free_bytes,
        unit="bytes",
    )
