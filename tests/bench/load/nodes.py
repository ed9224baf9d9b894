"""Load of thousands of nodes that periodically claim jobs or renew leases on few connections."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import api_requests
from bench.api_requests import Agent, AgentCalls
from bench.http_client import NO_CONTENT, Address, Caller, callers, close_all, expect
from bench.job_accounting import JobAccounting
from bench.load import master_metrics
from bench.load.latency import Latency, Window
from bench.process import CpuMeter

_HEARTBEATS = 3
_SCRAPE_S = 15.0


@dataclass(frozen=True)
class Rhythm:
    """The timing of the simulation.

    During `seconds`, each node sends a request every `every_s`. At the start, `jobs_first` jobs are
    submitted, followed by `jobs_per_s` jobs per second.
    """

    every_s: float
    seconds: float
    jobs_first: int
    jobs_per_s: float


@dataclass(frozen=True)
class NodesOutcome:
    """The measurements of the simulation.

    `late_s` is the largest delay with which the simulation sent a request, `offline` is the largest
    number of nodes that the master reported as offline, and `expired` is the number of leases that
    expired.
    """

    latencies: dict[str, Latency]
    late_s: float
    offline: float
    expired: float
    requests_per_s: float
    jobs: int
    server_cpu_percent: float


class _Node:
    """A node with one slot, which holds a claimed job for some heartbeats."""

    def __init__(self, agent: Agent, due: float) -> None:
        self.requests = AgentCalls(agent, 0.0)
        self.due = due
        self.job_id = ""
        self.heartbeats = 0


class _Simulation:
    """Sends the requests of all nodes on schedule and evaluates the answers of the master."""

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

    async def schedule(self, senders: int) -> None:
        """Queue each node when its request is due, and at the end one end marker per sender."""
        while not self.window.is_over:
            for node in self.nodes:
                await asyncio.sleep(max(0.0, node.due - time.perf_counter()))
                if self.window.is_over:
                    break
                self._due.put_nowait(node)
        for _ in range(senders):
            self._due.put_nowait(None)

    async def send_due(self, caller: Caller) -> None:
        """Send the requests of the queued nodes until the end marker."""
        while (node := await self._due.get()) is not None:
            self.late_s = max(self.late_s, time.perf_counter() - node.due)
            node.due += self._rhythm.every_s
            if not node.job_id:
                await self.claim(caller, node)
            elif node.heartbeats < _HEARTBEATS:
                start = time.perf_counter()
                answer = expect(await caller.call(node.requests.heartbeat(node.job_id)), 200)
                self.window.record("heartbeat", start, answer.at)
                node.heartbeats += 1
            else:
                await self.report_result(caller, node)

    async def claim(self, caller: Caller, node: _Node) -> bool:
        """Claim a job and return whether the node got one."""
        start = time.perf_counter()
        answer = expect(await caller.call(node.requests.claim), 200, NO_CONTENT)
        self.window.record("claim", start, answer.at)
        if answer.status == NO_CONTENT:
            return False
        claim = api_requests.read_claim(answer.body)
        self.ledger.handed_out(claim.job.id, claim.attempt)
        node.job_id, node.heartbeats = claim.job.id, 0
        return True

    async def report_result(self, caller: Caller, node: _Node) -> None:
        """Report the result of the job that a node holds."""
        start = time.perf_counter()
        answer = expect(await caller.call(node.requests.result(node.job_id)), 200, 201)
        self.window.record("result", start, answer.at)
        stored = api_requests.read_stored(answer.body)
        self.ledger.finished(node.job_id, state=stored.state, repeated=stored.repeated)
        node.job_id = ""

    async def submit(self, caller: Caller, request: bytes) -> None:
        """Submit the initial jobs, and then further jobs at a constant rate."""
        for number in range(10**9):
            if number >= self._rhythm.jobs_first:
                await asyncio.sleep(1 / self._rhythm.jobs_per_s)
                if self.window.is_over:
                    return
            answer = expect(await caller.call(request), 201)
            self.ledger.submitted(api_requests.read_job(answer.body).id)

    async def scrape(self, caller: Caller) -> None:
        """Read the metrics periodically, and record the number of offline nodes."""
        while not self.window.is_over:
            left_s = self.window.closes - time.perf_counter()
            await asyncio.sleep(min(_SCRAPE_S, max(0.0, left_s)))
            start = time.perf_counter()
            text = await master_metrics.metrics(caller, self._viewer)
            self.scrapes.append(time.perf_counter() - start)
            offline = master_metrics.value(text, "ffrtmp_master_nodes", 'state="offline"')
            self.offline = max(self.offline, offline)

    async def finish(self, caller: Caller) -> None:
        """Finish all jobs that are held or queued, and check that none was lost."""
        for node in self.nodes:
            if node.job_id:
                await self.report_result(caller, node)
        while await self.claim(caller, self.nodes[0]):
            await self.report_result(caller, self.nodes[0])
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
) -> NodesOutcome:
    """Run the simulation; the requests of the nodes are evenly distributed over the interval."""
    node_callers = await callers(address, connections)
    metrics_caller, submit_caller = await callers(address, 2)
    simulation = _Simulation(agents, rhythm, viewer)
    expired_before = await _expired(metrics_caller, viewer)
    cpu = CpuMeter(pid)
    async with asyncio.TaskGroup() as group:
        for caller in node_callers:
            group.create_task(simulation.send_due(caller))
        group.create_task(simulation.schedule(connections))
        group.create_task(simulation.submit(submit_caller, api_requests.submission(submitter)))
        group.create_task(simulation.scrape(metrics_caller))
    server_cpu_percent = cpu.percent()
    expired = await _expired(metrics_caller, viewer) - expired_before
    await simulation.finish(node_callers[0])
    close_all([metrics_caller, submit_caller, *node_callers])
    request_count = sum(simulation.window.count(kind) for kind in ("claim", "heartbeat", "result"))
    return NodesOutcome(
        simulation.window.latencies() | {"scrape": Latency.of(simulation.scrapes)},
        simulation.late_s,
        simulation.offline,
        expired,
        request_count / rhythm.seconds,
        simulation.ledger.counts[2],
        server_cpu_percent,
    )


async def _expired(caller: Caller, viewer: str) -> float:
    text = await master_metrics.metrics(caller, viewer)
    return master_metrics.value(text, "ffrtmp_master_lease_expiries_total")
