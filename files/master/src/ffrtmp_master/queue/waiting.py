"""Agents that wait for work, and whom to wake when there is some."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class _Waiter:
    node: str
    # None before its first attempt: it may be able to do anything.
    encoders: frozenset[str] | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class WaitingRoom:
    """Claims that found nothing and wait.

    A new job wakes one waiter that can do it, not all. As a job owns its node, one waiter of a
    node is enough. Waking is a hint and never a promise: whoever wakes looks for itself, and all
    look again every `repoll_s` seconds in case a hint was lost. For one event loop alone.
    """

    def __init__(self, repoll_s: float = 5.0) -> None:
        """Open the room."""
        self._repoll_s = repoll_s
        self._waiters: dict[_Waiter, None] = {}
        self.is_closed = False

    def __len__(self) -> int:
        """Count the waiters."""
        return len(self._waiters)

    async def until(
        self,
        attempt: Callable[[], Awaitable[T | None]],
        node: str,
        encoders: Callable[[], frozenset[str]],
        wait_s: float,
    ) -> T | None:
        """Make attempts until one gives something, or `wait_s` seconds are over.

        `encoders` says what the node can do, as the last attempt saw it. The first attempt comes
        after parking, so that a job which is queued meanwhile is not missed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        waiter = _Waiter(node)
        self._waiters[waiter] = None
        try:
            while True:
                waiter.woken.clear()
                found = await attempt()
                waiter.encoders = encoders()
                left = deadline - loop.time()
                if found is not None or left <= 0 or self.is_closed:
                    return found
                await self._sleep(waiter, min(left, self._repoll_s))
        finally:
            del self._waiters[waiter]
            if waiter.woken.is_set():
                # A hint that came too late for this one may serve another slot of the node.
                self.wake_node(node)

    def wake(self, node: str | None, encoders: Iterable[str], jobs: int = 1) -> None:
        """Wake waiters for `jobs` new jobs that ask for `encoders`, of `node` or of any."""
        wanted = frozenset(encoders)
        nodes: set[str] = set()
        for waiter in list(self._waiters):
            if len(nodes) == jobs:
                return
            can_do = waiter.encoders is None or not wanted.isdisjoint(waiter.encoders)
            if can_do and node in (None, waiter.node) and waiter.node not in nodes:
                nodes.add(waiter.node)
                waiter.woken.set()

    def wake_node(self, node: str) -> None:
        """Wake one waiter of a node that may take another job now."""
        for waiter in self._waiters:
            if waiter.node == node and not waiter.woken.is_set():
                waiter.woken.set()
                return

    def close(self) -> None:
        """Send everybody home: the master stops."""
        self.is_closed = True
        for waiter in self._waiters:
            waiter.woken.set()

    async def _sleep(self, waiter: _Waiter, seconds: float) -> None:
        try:
            # Not wait_for: when it is canceled as the hint comes, it forgets the canceling.
            async with asyncio.timeout(seconds):
                await waiter.woken.wait()
        except TimeoutError:
            return
