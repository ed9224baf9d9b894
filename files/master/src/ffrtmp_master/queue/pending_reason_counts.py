"""What keeps whole sets of requirements from being handed out, for counting at a scrape."""

import threading
from collections.abc import Collection, Iterable, Mapping

from ffrtmp_shared.states import NodeState
from sqlalchemy import Connection

from ffrtmp_master.queue.pending_reasons import PendingReason
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.store import statements
from ffrtmp_master.store.queue_stats import HeldCount
from ffrtmp_master.store.rows import NodeRow


class PendingReasonCounts:
    """Says for sets of requirements what `reasons` says for single jobs, for several threads.

    It remembers nodes and sets, and looks only at what has changed. The catalog is its own: claims
    never wait while all nodes are looked through.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._lock = threading.Lock()
        self._catalog = RequirementCatalog()

    def count_by_set(
        self,
        connection: Connection,
        requirement_ids: Collection[int],
        nodes: Iterable[NodeRow],
        held: Iterable[HeldCount],
    ) -> Mapping[int, PendingReason]:
        """Return what keeps jobs of some sets waiting that need not wait for another attempt.

        `nodes` are all that there are, each with the state that it is in now, and `held` is what
        they work on.
        """
        if not requirement_ids:
            return {}
        using = statements.statements_for(connection)
        active = [node for node in nodes if node.state is NodeState.ACTIVE]
        working, alone = _working(held)
        with self._lock:
            self._catalog.load_new(using)
            met = self._catalog.met_by(active, using)
            exclusive = {one for one in requirement_ids if self._catalog.is_exclusive(one)}
        could = _union(met.values())
        idle = _union(ids for name, ids in met.items() if name not in working)
        open_to_shared = _union(ids for name, ids in met.items() if name not in alone)
        reasons = {}
        for one in requirement_ids:
            if one not in could:
                reasons[one] = PendingReason.NO_NODE
            elif one in (idle if one in exclusive else open_to_shared):
                reasons[one] = PendingReason.READY
            else:
                reasons[one] = PendingReason.BUSY
        return reasons


def _working(held: Iterable[HeldCount]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the nodes that work, and those of them that a job has for itself."""
    pairs = [(one.node, one.is_exclusive) for one in held]
    return (
        frozenset(node for node, _ in pairs),
        frozenset(node for node, is_exclusive in pairs if is_exclusive),
    )


def _union(ids: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset[int]().union(*ids)
