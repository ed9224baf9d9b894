"""Full cycles: submit, claim, heartbeat, result, each its own request."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import calls
from bench.calls import Agent, AgentCalls
from bench.job_accounting import JobAccounting
from bench.load.timing import Latency, Window
from bench.process import CpuMeter
from bench.wire import NO_CONTENT, Address, Caller, callers, close_all, expect

_WAIT_S = 1.0


@dataclass(frozen=True)
class Cycles:
    """What a window of full cycles came to."""

    per_s: float
    latencies: dict[str, Latency]
    submitted: int
    handed_out: int
    finished: int
    server_cpu_percent: float
    client_cpu_percent: float


async def run(
    address: Address,
    pid: int,
    agents: Sequence[Agent],
    submitters: Sequence[str],
    *,
    seconds: float,
    backlog: int,
    drain: bool = True,
    warm_up_s: float = 1.0,
) -> Cycles:
    """Run cycles as fast as they go, with at most `backlog` submitted jobs not handed out.

    With `drain`, agents go on until every job is finished and the ledger is checked; without,
    the master had jobs before and keeps as many.
    """
    ledger = JobAccounting()
    room = asyncio.Semaphore(backlog)
    agent_callers = await callers(address, len(agents))
    submit_callers = await callers(address, len(submitters))
    window = Window(warm_up_s=warm_up_s, seconds=seconds)

    async def use_of_cores() -> tuple[float, float]:
        """Watch the master and this process while the window is open."""
        await asyncio.sleep(window.opens - time.perf_counter())
        meters = CpuMeter(pid), CpuMeter(os.getpid())
        await asyncio.sleep(window.closes - time.perf_counter())
        return meters[0].percent(), meters[1].percent()

    async def submit(caller: Caller, token: str) -> None:
        wanted = calls.submission(token)
        while True:
            await room.acquire()
            if window.is_over:
                room.release()
                return
            start = time.perf_counter()
            answer = expect(await caller.call(wanted), 201)
            window.note("submit", start, answer.at)
            ledger.submitted(calls.read_job(answer.body).id)

    async def work(caller: Caller, agent: Agent) -> None:
        said = AgentCalls(agent, _WAIT_S)
        while not (window.is_over and (ledger.is_settled or not drain)):
            start = time.perf_counter()
            answer = expect(await caller.call(said.claim), 200, NO_CONTENT)
            if answer.status == NO_CONTENT:
                continue
            window.note("claim", start, answer.at)
            room.release()
            claim = calls.read_claim(answer.body)
            job_id = claim.job.id
            ledger.handed_out(job_id, claim.attempt)
            start = time.perf_counter()
            answer = expect(await caller.call(said.heartbeat(job_id)), 200)
            window.note("heartbeat", start, answer.at)
            start = time.perf_counter()
            answer = expect(await caller.call(said.result(job_id)), 200, 201)
            window.note("result", start, answer.at)
            stored = calls.read_stored(answer.body)
            ledger.finished(job_id, state=stored.state, repeated=stored.repeated)
        # Whoever still waits for room sees that the window is over, and tells the next.
        room.release()

    async with asyncio.TaskGroup() as group:
        used = group.create_task(use_of_cores())
        for caller, token in zip(submit_callers, submitters, strict=True):
            group.create_task(submit(caller, token))
        for caller, agent in zip(agent_callers, agents, strict=True):
            group.create_task(work(caller, agent))
    if drain:
        ledger.check_settled()
    close_all([*agent_callers, *submit_callers])
    done = min(window.count(deed) for deed in ("submit", "claim", "heartbeat", "result"))
    return Cycles(
        done / window.seconds,
        window.latencies(),
        *ledger.counts,
        *used.result(),
    )
