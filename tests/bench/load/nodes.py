"""Thousands of nodes that ask for work or renew a lease every so often, over few connections."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import calls
from bench.calls import Agent, AgentCalls
from bench.job_accounting import JobAccounting
from bench.load import scraping
from bench.load.timing import Latency, Window
from bench.process import CpuMeter
from bench.wire import NO_CONTENT, Address, Caller, callers, close_all, expect

_HEARTBEATS = 3
_SCRAPE_S = 15.0


@dataclass(frozen=True)
class Rhythm:
    """How often a node speaks, how long it is watched, and how much work there is."""

    every_s: float
    seconds: float
    jobs_first: int
    jobs_per_s: float


@dataclass(frozen=True)
class Watched:
    """What became of the nodes while they were watched.

    `late_s` is by how much the simulation itself was ever behind; `offline` the most nodes that
    the master ever called offline, `expired` how many leases it ended.
    """

    latencies: dict[str, Latency]
    late_s: float
    offline: float
    expired: float
    requests_per_s: float
    jobs: int
    server_cpu_percent: float


class _Node:
    """A node with one slot: it asks for work, or holds a job for some heartbeats."""

    def __init__(self, agent: Agent, due: float) -> None:
        self.said = AgentCalls(agent, 0.0)
        self.due = due
        self.job_id = ""
        self.heartbeats = 0


class _Simulation:
    """All nodes, their turns, and what the master answers them."""

    def __init__(self, agents: Sequence[Agent], rhythm: Rhythm, viewer: str) -> None:
        start = time.perf_counter()
        step_s = rhythm.every_s / len(agents)
        self.nodes = [_Node(agent, start + step_s * n) for n, agent in enumerate(agents)]
        self.ledger = JobAccounting()
        self.window = Window(warm_up_s=0.0, seconds=rhythm.seconds)
        self.scrapes: list[float] = []
        self.late_s = self.offline = 0.0
        self._rhythm = rhythm
        self._viewer = viewer
        self._due: asyncio.Queue[_Node | None] = asyncio.Queue()

    async def take_turns(self, speakers: int) -> None:
        """Queue each node when its turn comes, then tell the speakers that it is over."""
        while not self.window.is_over:
            for node in self.nodes:
                await asyncio.sleep(max(0.0, node.due - time.perf_counter()))
                if self.window.is_over:
                    break
                self._due.put_nowait(node)
        for _ in range(speakers):
            self._due.put_nowait(None)

    async def speak(self, caller: Caller) -> None:
        """Say what nodes have to say, in the order of their turns."""
        while (node := await self._due.get()) is not None:
            self.late_s = max(self.late_s, time.perf_counter() - node.due)
            node.due += self._rhythm.every_s
            if not node.job_id:
                await self.claim(caller, node)
            elif node.heartbeats < _HEARTBEATS:
                start = time.perf_counter()
                answer = expect(await caller.call(node.said.heartbeat(node.job_id)), 200)
                self.window.note("heartbeat", start, answer.at)
                node.heartbeats += 1
            else:
                await self.hand_in(caller, node)

    async def claim(self, caller: Caller, node: _Node) -> bool:
        """Ask for work; return whether there was some."""
        start = time.perf_counter()
        answer = expect(await caller.call(node.said.claim), 200, NO_CONTENT)
        self.window.note("claim", start, answer.at)
        if answer.status == NO_CONTENT:
            return False
        claim = calls.read_claim(answer.body)
        self.ledger.handed_out(claim.job.id, claim.attempt)
        node.job_id, node.heartbeats = claim.job.id, 0
        return True

    async def hand_in(self, caller: Caller, node: _Node) -> None:
        """Hand in the result of what a node holds."""
        start = time.perf_counter()
        answer = expect(await caller.call(node.said.result(node.job_id)), 200, 201)
        self.window.note("result", start, answer.at)
        stored = calls.read_stored(answer.body)
        self.ledger.finished(node.job_id, state=stored.state, repeated=stored.repeated)
        node.job_id = ""

    async def submit(self, caller: Caller, wanted: bytes) -> None:
        """Submit what is there at the start, then more at a steady rate."""
        for number in range(10**9):
            if number >= self._rhythm.jobs_first:
                await asyncio.sleep(1 / self._rhythm.jobs_per_s)
                if self.window.is_over:
                    return
            answer = expect(await caller.call(wanted), 201)
            self.ledger.submitted(calls.read_job(answer.body).id)

    async def scrape(self, caller: Caller) -> None:
        """Read the metrics now and then, as monitoring does, and see who is called offline."""
        while not self.window.is_over:
            left_s = self.window.closes - time.perf_counter()
            await asyncio.sleep(min(_SCRAPE_S, max(0.0, left_s)))
            start = time.perf_counter()
            text = await scraping.metrics(caller, self._viewer)
            self.scrapes.append(time.perf_counter() - start)
            offline = scraping.value(text, "ffrtmp_master_nodes", 'state="offline"')
            self.offline = max(self.offline, offline)

    async def finish(self, caller: Caller) -> None:
        """Hand in what is held, work off what is queued, and check the ledger."""
        for node in self.nodes:
            if node.job_id:
                await self.hand_in(caller, node)
        while await self.claim(caller, self.nodes[0]):
            await self.hand_in(caller, self.nodes[0])
        self.ledger.check_settled()


async def run(
    address: Address,
    pid: int,
    agents: Sequence[Agent],
    submitter: str,
    *,
    viewer: str,
    rhythm: Rhythm,
    connections: int,
) -> Watched:
    """Let every node speak in its turn, evenly spread."""
    node_callers = await callers(address, connections)
    looking, submitting = await callers(address, 2)
    services = _Simulation(agents, rhythm, viewer)
    expired_before = await _expired(looking, viewer)
    cpu = CpuMeter(pid)
    async with asyncio.TaskGroup() as group:
        for caller in node_callers:
            group.create_task(services.speak(caller))
        group.create_task(services.take_turns(connections))
        group.create_task(services.submit(submitting, calls.submission(submitter)))
        group.create_task(services.scrape(looking))
    server_cpu_percent = cpu.percent()
    expired = await _expired(looking, viewer) - expired_before
    await services.finish(node_callers[0])
    close_all([looking, submitting, *node_callers])
    spoken = sum(services.window.count(deed) for deed in ("claim", "heartbeat", "result"))
    return Watched(
        services.window.latencies() | {"scrape": Latency.of(services.scrapes)},
        services.late_s,
        services.offline,
        expired,
        spoken / rhythm.seconds,
        services.ledger.counts[2],
        server_cpu_percent,
    )


async def _expired(caller: Caller, viewer: str) -> float:
    text = await scraping.metrics(caller, viewer)
    return scraping.value(text, "ffrtmp_master_lease_expiries_total")
