"""Load of complete job cycles: submission, claim, heartbeat and result in separate requests."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import api_requests
from bench.api_requests import Agent, AgentCalls
from bench.http_client import NO_CONTENT, Address, Caller, callers, close_all, expect
from bench.job_accounting import JobAccounting
from bench.load.latency import Latency, Window
from bench.process import CpuMeter

_WAIT_S = 1.0


@dataclass(frozen=True)
class Cycles:
    """The measurements of job cycles within a time window."""

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
    """Run job cycles at the maximum rate, with at most `backlog` jobs that wait for a lease.

    If `drain` is true, the agents continue until every submitted job is finished. It must be false
    if the master also has other jobs; then the number of queued jobs stays about constant.
    """
    ledger = JobAccounting()
    capacity = asyncio.Semaphore(backlog)
    agent_callers = await callers(address, len(agents))
    submit_callers = await callers(address, len(submitters))
    window = Window(warm_up_s=warm_up_s, seconds=seconds)

    async def use_of_cores() -> tuple[float, float]:
        """Measure the CPU usage of the master and of this process during the window."""
        await asyncio.sleep(window.opens - time.perf_counter())
        meters = CpuMeter(pid), CpuMeter(os.getpid())
        await asyncio.sleep(window.closes - time.perf_counter())
        return meters[0].percent(), meters[1].percent()

    async def submit(caller: Caller, token: str) -> None:
        request = api_requests.submission(token)
        while True:
            await capacity.acquire()
            if window.is_over:
                capacity.release()
                return
            start = time.perf_counter()
            answer = expect(await caller.call(request), 201)
            window.record("submit", start, answer.at)
            ledger.submitted(api_requests.read_job(answer.body).id)

    async def work(caller: Caller, agent: Agent) -> None:
        requests = AgentCalls(agent, _WAIT_S)
        while not (window.is_over and (ledger.is_settled or not drain)):
            start = time.perf_counter()
            answer = expect(await caller.call(requests.claim), 200, NO_CONTENT)
            if answer.status == NO_CONTENT:
                continue
            window.record("claim", start, answer.at)
            capacity.release()
            claim = api_requests.read_claim(answer.body)
            job_id = claim.job.id
            ledger.handed_out(job_id, claim.attempt)
            start = time.perf_counter()
            answer = expect(await caller.call(requests.heartbeat(job_id)), 200)
            window.record("heartbeat", start, answer.at)
            start = time.perf_counter()
            answer = expect(await caller.call(requests.result(job_id)), 200, 201)
            window.record("result", start, answer.at)
            stored = api_requests.read_stored(answer.body)
            ledger.finished(job_id, state=stored.state, repeated=stored.repeated)
        # This wakes a waiting submitter, which sees that the window is over and wakes the next one.
        capacity.release()

    async with asyncio.TaskGroup() as group:
        cpu_usage = group.create_task(use_of_cores())
        for caller, token in zip(submit_callers, submitters, strict=True):
            group.create_task(submit(caller, token))
        for caller, agent in zip(agent_callers, agents, strict=True):
            group.create_task(work(caller, agent))
    if drain:
        ledger.check_settled()
    close_all([*agent_callers, *submit_callers])
    done = min(window.count(step) for step in ("submit", "claim", "heartbeat", "result"))
    return Cycles(
        done / window.seconds,
        window.latencies(),
        *ledger.counts,
        *cpu_usage.result(),
    )
