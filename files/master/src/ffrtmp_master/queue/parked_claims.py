"""Agents that wait for work, and whom to wake when there is some."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from ffrtmp_master.queue.requests import ClaimOutcome
from ffrtmp_master.queue.requirement_catalog import RequirementCatalog
from ffrtmp_master.store.rows import JobRow

# Another master was about to take a job, or not: soon it is known.
_CONTENDED_S = 0.05


class ParkedClaim:
    """A claim that waits: of which node, and for jobs of which sets of requirements."""

    __slots__ = ("future", "hint", "is_idle", "keys", "node")

    def __init__(self, node: str) -> None:
        """Prepare to wait for a job that `node` could do."""
        self.node = node
        self.keys: frozenset[int] = frozenset()
        self.is_idle = True
        # The set that it was told of a job of, until it has looked.
        self.hint: int | None = None
        self.future: asyncio.Future[bool] | None = None

    def wake(self) -> None:
        """End its sleep, if it sleeps."""
        self._end_sleep(is_woken=True)

    def time_out(self) -> None:
        """End its sleep because its time is over."""
        self._end_sleep(is_woken=False)

    def _end_sleep(self, *, is_woken: bool) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(is_woken)


class ParkedClaims:
    """Claims that found nothing and wait.

    A new job wakes one waiter that could do it, not all. Waking is a hint and never a promise:
    whoever wakes looks for itself. What is heard between a look and going to sleep is looked for
    again, so that no job lies beside a waiting agent. For one event loop alone.
    """

    def __init__(self, catalog: RequirementCatalog) -> None:
        """Open the room; `catalog` knows which nodes meet what jobs ask."""
        self._catalog = catalog
        # Who sleeps, by node, and by each set whose jobs it could take.
        self._by_node: dict[str, dict[ParkedClaim, None]] = {}
        self._by_key: dict[int, dict[ParkedClaim, None]] = {}
        # Counts hints, and says which was the last for a set, and for a node.
        self._heard = 0
        self._heard_key: dict[int, int] = {}
        self._heard_node: dict[str, int] = {}
        # The sets that were looked through for sleepers who could do their jobs.
        self._opened: set[int] = set()
        self._size = 0
        self.is_closed = False
        # How many sleepers were woken before their time was over, and found nothing after all.
        self.wakeups = 0
        self.spurious_wakeups = 0

    def __len__(self) -> int:
        """Count those who sleep."""
        return self._size

    async def wait_for_job(
        self,
        waiter: ParkedClaim,
        attempt: Callable[[], Awaitable[ClaimOutcome]],
        wait_s: float,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> JobRow | None:
        """Make attempts until one gives a job, `wait_s` seconds are over, or nobody waits."""
        try:
            return await self._until(waiter, attempt, wait_s, is_gone)
        finally:
            if waiter.hint is not None:
                # It left without having looked: whoever else could do the job should.
                self.note_freed(waiter.node)
                self.wake(waiter.hint, 1)

    async def _until(
        self,
        waiter: ParkedClaim,
        attempt: Callable[[], Awaitable[ClaimOutcome]],
        wait_s: float,
        is_gone: Callable[[], bool],
    ) -> JobRow | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        was_woken = False
        while True:
            heard = self._heard
            claimed = await attempt()
            if claimed.job is not None or not is_gone():
                waiter.hint = None
            self.spurious_wakeups += was_woken and claimed.job is None
            was_woken = False
            left_s = deadline - loop.time()
            if claimed.job is not None or left_s <= 0 or self.is_closed or is_gone():
                return claimed.job
            if self._was_heard_since(heard, waiter.node, claimed.open_to):
                continue
            nap_s = min(left_s, _CONTENDED_S) if claimed.is_contended else left_s
            waiter.is_idle = claimed.is_idle
            was_woken = await self._sleep(loop, waiter, claimed.open_to, nap_s)
            self.wakeups += was_woken

    def wake(self, requirement_id: int, jobs: int) -> None:
        """Wake as many waiters as there are new jobs of a set."""
        self._heard += 1
        self._heard_key[requirement_id] = self._heard
        self._open(requirement_id)
        line = self._by_key.get(requirement_id)
        while jobs and line:
            waiter = next(iter(line))
            if self._catalog.is_exclusive(requirement_id):
                # The node will be busy: its other slots wait until it is free again.
                self._close_node(waiter.node)
            self._leave_keys(waiter)
            waiter.hint = requirement_id
            waiter.wake()
            jobs -= 1

    def note_freed(self, node: str) -> None:
        """Wake all waiters of a node: its slots may take other jobs now."""
        self._heard += 1
        self._heard_node[node] = self._heard
        for waiter in list(self._by_node.get(node, ())):
            waiter.wake()

    def note_taken(self, node: str, *, is_exclusive: bool) -> None:
        """Note that a node got a job: who waits there cannot take another beside it."""
        self._close_node(node, only_exclusive=not is_exclusive)

    def wake_all(self) -> None:
        """Have everybody look for themselves."""
        self._heard += 1
        for waiters in list(self._by_node.values()):
            for waiter in list(waiters):
                waiter.wake()

    def close(self) -> None:
        """Send everybody home: the master stops."""
        self.is_closed = True
        self.wake_all()

    def awaited_requirements(self) -> list[int]:
        """Return the sets of requirements that somebody waits for."""
        return [key for key, line in self._by_key.items() if line]

    def waiting_nodes(self) -> list[str]:
        """Return the nodes that somebody waits on."""
        return list(self._by_node)

    def _was_heard_since(self, heard: int, node: str, open_to: Iterable[int]) -> bool:
        if self._heard == heard:
            return False
        return self._heard_node.get(node, 0) > heard or any(
            self._heard_key.get(key, 0) > heard for key in open_to
        )

    async def _sleep(
        self,
        loop: asyncio.AbstractEventLoop,
        waiter: ParkedClaim,
        open_to: frozenset[int],
        nap_s: float,
    ) -> bool:
        """Sleep; return whether somebody ended it before its time was over."""
        waiter.future = loop.create_future()
        waiter.keys = open_to
        for key in open_to:
            self._by_key.setdefault(key, {})[waiter] = None
        self._by_node.setdefault(waiter.node, {})[waiter] = None
        self._size += 1
        timer = loop.call_later(nap_s, waiter.time_out)
        try:
            return await waiter.future
        finally:
            timer.cancel()
            self._size -= 1
            self._leave_keys(waiter)
            of_node = self._by_node[waiter.node]
            del of_node[waiter]
            if not of_node:
                del self._by_node[waiter.node]

    def _leave_keys(self, waiter: ParkedClaim) -> None:
        for key in waiter.keys:
            line = self._by_key.get(key)
            if line is not None:
                line.pop(waiter, None)
                if not line:
                    del self._by_key[key]
        waiter.keys = frozenset()

    def _close_node(self, node: str, *, only_exclusive: bool = False) -> None:
        for waiter in self._by_node.get(node, ()):
            kept = (
                frozenset(key for key in waiter.keys if not self._catalog.is_exclusive(key))
                if only_exclusive
                else frozenset[int]()
            )
            self._leave_keys(waiter)
            waiter.is_idle = False
            waiter.keys = kept
            for key in kept:
                self._by_key.setdefault(key, {})[waiter] = None

    def _open(self, requirement_id: int) -> None:
        """Have those wait for a set that was not there when they went to sleep."""
        if requirement_id in self._opened:
            return
        self._opened.add(requirement_id)
        node = self._catalog.node_of(requirement_id)
        names = self._by_node.keys() if node is None else [node]
        for name in self._catalog.meeting(requirement_id, names):
            for waiter in self._by_node.get(name, ()):
                # Whose node is busy waits for the node, not for jobs.
                if waiter.is_idle:
                    waiter.keys |= {requirement_id}
                    self._by_key.setdefault(requirement_id, {})[waiter] = None
