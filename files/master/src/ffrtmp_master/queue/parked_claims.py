"""Parked claims: claims that found no job and wait for one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.store.rows import JobRow

# The delay in seconds after which a claim is tried again if another master had locked a suitable
# job.
_CONTENDED_RETRY_S = 0.05


class ParkedClaim:
    """A claim by the node `node`, which waits for a job of one of the requirement sets `keys`."""

    __slots__ = ("future", "hint", "is_idle", "keys", "node")

    def __init__(self, node: str) -> None:
        """Create a claim of `node`, which does not wait yet."""
        self.node = node
        self.keys: frozenset[int] = frozenset()
        self.is_idle = True
        # The requirement set for which the claim was woken. It is reset when the claim has been
        # tried again.
        self.hint: int | None = None
        self.future: asyncio.Future[bool] | None = None

    def wake(self) -> None:
        """End the wait early. If the claim does not wait, this has no effect."""
        self._end_wait(is_woken=True)

    def time_out(self) -> None:
        """End the wait because of the timeout."""
        self._end_wait(is_woken=False)

    def _end_wait(self, *, is_woken: bool) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(is_woken)


class ParkedClaims:
    """All parked claims of a master.

    A new job wakes only one of the parked claims that could lease it. A wakeup is only a hint: the
    claim is tried again and may still find no job. If a job is queued or a node is freed between a
    try and the wait that follows it, the claim is tried again immediately. Therefore no job stays
    queued while a claim that could lease it is parked.

    The class is not thread-safe. All calls must come from the same event loop.
    """

    def __init__(self, catalog: RequirementCatalog) -> None:
        """Create an empty collection; `catalog` tells which nodes meet which requirements."""
        self._catalog = catalog
        # The parked claims by node, and by requirement set. A claim is listed under each of the
        # sets whose jobs it could lease.
        self._by_node: dict[str, dict[ParkedClaim, None]] = {}
        self._by_key: dict[int, dict[ParkedClaim, None]] = {}
        # New jobs and freed nodes are numbered events. These are the number of the latest event,
        # and the number of the latest event of each requirement set and of each node.
        self._events = 0
        self._last_event_of_key: dict[int, int] = {}
        self._last_event_of_node: dict[str, int] = {}
        # The requirement sets that were already matched to the claims that were parked before the
        # sets became active, each with the step in which it became active.
        self._matched_sets: dict[int, int | None] = {}
        self._size = 0
        self.is_closed = False
        # The number of wakeups, without timeouts, and the number of those wakeups after which no
        # job was found.
        self.wakeups = 0
        self.spurious_wakeups = 0

    def __len__(self) -> int:
        """Return the number of parked claims."""
        return self._size

    async def wait_for_job(
        self,
        parked: ParkedClaim,
        attempt: Callable[[], Awaitable[ClaimOutcome]],
        wait_s: float,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> JobRow | None:
        """Try to lease a job until one is leased, the timeout is over or the client disconnects.

        Args:
            parked: The claim.
            attempt: A function that tries once to lease a job.
            wait_s: The timeout in seconds.
            is_gone: A function that returns whether the client has disconnected.

        Returns:
            The leased job, or None.
        """
        try:
            return await self._retry_until(parked, attempt, wait_s, is_gone)
        finally:
            if parked.hint is not None:
                # The claim ended without using its wakeup, so another claim should be tried.
                self.note_freed(parked.node)
                self.wake(parked.hint, 1)

    async def _retry_until(
        self,
        parked: ParkedClaim,
        attempt: Callable[[], Awaitable[ClaimOutcome]],
        wait_s: float,
        is_gone: Callable[[], bool],
    ) -> JobRow | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        was_woken = False
        while True:
            last_event = self._events
            claimed = await attempt()
            if claimed.job is not None or not is_gone():
                parked.hint = None
            self.spurious_wakeups += was_woken and claimed.job is None
            was_woken = False
            remaining_s = deadline - loop.time()
            if claimed.job is not None or remaining_s <= 0 or self.is_closed or is_gone():
                return claimed.job
            if self._has_event_since(last_event, parked.node, claimed.open_to):
                continue
            delay_s = min(remaining_s, _CONTENDED_RETRY_S) if claimed.is_contended else remaining_s
            parked.is_idle = claimed.is_idle
            was_woken = await self._park(loop, parked, claimed.open_to, delay_s)
            self.wakeups += was_woken

    def wake(self, requirement_id: int, jobs: int, *, is_repeated: bool = False) -> None:
        """Wake one parked claim for each of `jobs` new jobs of a requirement set.

        `is_repeated` states that an earlier wake-up may have been lost, so that the claims that
        could lease the jobs are determined again.
        """
        self._events += 1
        self._last_event_of_key[requirement_id] = self._events
        self._add_new_set(requirement_id, is_repeated=is_repeated)
        claims = self._by_key.get(requirement_id)
        while jobs and claims:
            parked = next(iter(claims))
            if self._catalog.is_exclusive(requirement_id):
                # The node will be busy, so its other slots get no job until it is free again.
                self._withdraw_node(parked.node)
            self._withdraw(parked)
            parked.hint = requirement_id
            parked.wake()
            jobs -= 1

    def note_freed(self, node: str) -> None:
        """Wake all parked claims of a node whose job has ended."""
        self._events += 1
        self._last_event_of_node[node] = self._events
        for parked in list(self._by_node.get(node, ())):
            parked.wake()

    def note_taken(self, node: str, *, is_exclusive: bool) -> None:
        """Stop claims of a node from waiting for jobs that it cannot run beside its new job."""
        self._withdraw_node(node, only_exclusive=not is_exclusive)

    def wake_all(self) -> None:
        """Wake all parked claims."""
        self._events += 1
        for parked_claims in list(self._by_node.values()):
            for parked in list(parked_claims):
                parked.wake()

    def close(self) -> None:
        """End the waits of all parked claims, because the master is stopping."""
        self.is_closed = True
        self.wake_all()

    def waiting_nodes(self) -> list[str]:
        """Return the names of the nodes that have parked claims."""
        return list(self._by_node)

    def _has_event_since(self, last_event: int, node: str, open_to: Iterable[int]) -> bool:
        if self._events == last_event:
            return False
        return self._last_event_of_node.get(node, 0) > last_event or any(
            self._last_event_of_key.get(key, 0) > last_event for key in open_to
        )

    async def _park(
        self,
        loop: asyncio.AbstractEventLoop,
        parked: ParkedClaim,
        open_to: frozenset[int],
        delay_s: float,
    ) -> bool:
        """Park a claim until it is woken or times out. Return whether it was woken."""
        parked.future = loop.create_future()
        parked.keys = open_to
        for key in open_to:
            self._by_key.setdefault(key, {})[parked] = None
        self._by_node.setdefault(parked.node, {})[parked] = None
        self._size += 1
        timer = loop.call_later(delay_s, parked.time_out)
        try:
            return await parked.future
        finally:
            timer.cancel()
            self._size -= 1
            self._withdraw(parked)
            claims = self._by_node[parked.node]
            del claims[parked]
            if not claims:
                del self._by_node[parked.node]

    def _withdraw(self, parked: ParkedClaim) -> None:
        for key in parked.keys:
            claims = self._by_key.get(key)
            if claims is not None:
                claims.pop(parked, None)
                if not claims:
                    del self._by_key[key]
        parked.keys = frozenset()

    def _withdraw_node(self, node: str, *, only_exclusive: bool = False) -> None:
        for parked in self._by_node.get(node, ()):
            remaining = (
                frozenset(key for key in parked.keys if not self._catalog.is_exclusive(key))
                if only_exclusive
                else frozenset[int]()
            )
            self._withdraw(parked)
            parked.is_idle = False
            parked.keys = remaining
            for key in remaining:
                self._by_key.setdefault(key, {})[parked] = None

    def _add_new_set(self, requirement_id: int, *, is_repeated: bool) -> None:
        """Add a requirement set to the claims that were parked before it became active."""
        activation = self._catalog.activation(requirement_id)
        if self._matched_sets.get(requirement_id) == activation and not is_repeated:
            return
        self._matched_sets[requirement_id] = activation
        node = self._catalog.node_of(requirement_id)
        names = self._by_node.keys() if node is None else [node]
        for name in self._catalog.meeting(requirement_id, names):
            for parked in self._by_node.get(name, ()):
                # Claims of a busy node do not wait for new jobs, but until the node is freed.
                if parked.is_idle:
                    parked.keys |= {requirement_id}
                    self._by_key.setdefault(requirement_id, {})[parked] = None
