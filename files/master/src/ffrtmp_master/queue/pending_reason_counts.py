"""Pending reasons of queued jobs by requirement set, determined at each scrape."""

import threading
import time
from collections.abc import Collection, Iterable, Mapping

from ffrtmp_shared.states import NodeState, PendingReason
from sqlalchemy import Connection

from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.store import statements
from ffrtmp_master.store.queue_stats import HeldCount
from ffrtmp_master.store.rows import NodeRow

# The time in seconds after which the cache is read again, so that it does not keep all requirement
# sets and nodes that were ever used.
_CACHED_S = 3600.0


class PendingReasonCounts:
    """Determines the pending reason that all queued jobs with the same requirement set share.

    The module `pending_reasons` does the same for single jobs. This class caches nodes and
    requirement sets and examines only changes. Its catalog is separate from that of the claims, so
    that claims never wait while all nodes are examined. Several threads may use one object.
    """

    def __init__(self) -> None:
        """Create an object with an empty cache."""
        self._lock = threading.Lock()
        self._catalog = RequirementCatalog()
        self._cached_since_s = time.monotonic()

    def has_cached(self, requirement_id: int) -> bool:
        """Return whether a requirement set is in the cache."""
        return self._catalog.knows(requirement_id)

    def count_by_set(
        self,
        connection: Connection,
        requirement_ids: Collection[int],
        nodes: Iterable[NodeRow],
        held: Iterable[HeldCount],
    ) -> Mapping[int, PendingReason]:
        """Return the pending reasons of jobs that are not in backoff.

        Args:
            connection: A connection to the database.
            requirement_ids: The requirement sets of the jobs.
            nodes: All registered nodes with their current states.
            held: The numbers of leased and running jobs of each node.

        Returns:
            The pending reason of each requirement set, by its id.
        """
        if not requirement_ids:
            return {}
        db = statements.statements_for(connection)
        active = [node for node in nodes if node.state is NodeState.ACTIVE]
        busy, exclusively_busy = _busy_nodes(held)
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._cached_since_s > _CACHED_S:
                self._catalog, self._cached_since_s = RequirementCatalog(), now_s
            step = self._catalog.step
            self._catalog.load_new(db)
            self._catalog.deactivate_others(requirement_ids, step)
            self._catalog.activate(requirement_ids)
            met = self._catalog.met_by(active, db)
            exclusive = {
                requirement_id
                for requirement_id in requirement_ids
                if self._catalog.is_exclusive(requirement_id)
            }
        met_by_any = _union(met.values())
        met_by_idle = _union(ids for name, ids in met.items() if name not in busy)
        open_to_shared = _union(ids for name, ids in met.items() if name not in exclusively_busy)
        reasons = {}
        for requirement_id in requirement_ids:
            if requirement_id not in met_by_any:
                reasons[requirement_id] = PendingReason.NO_NODE
            elif requirement_id in (met_by_idle if requirement_id in exclusive else open_to_shared):
                reasons[requirement_id] = PendingReason.READY
            else:
                reasons[requirement_id] = PendingReason.BUSY
        return reasons


def _busy_nodes(held: Iterable[HeldCount]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the nodes that hold jobs, and those of them that hold an exclusive job."""
    pairs = [(count.node, count.is_exclusive) for count in held]
    return (
        frozenset(node for node, _ in pairs),
        frozenset(node for node, is_exclusive in pairs if is_exclusive),
    )


def _union(ids: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset[int]().union(*ids)
