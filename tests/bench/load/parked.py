"""Thousands of agents that wait for a job on one master."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import calls
from bench.calls import Agent, AgentCalls
from bench.job_accounting import JobAccounting
from bench.load import scraping
from bench.process import CpuMeter, memory_kib
from bench.wire import NO_CONTENT, Address, Caller, callers, close_all, expect

_WAIT_S = 60.0
_CONNECTED_S = 60.0


@dataclass(frozen=True)
class Parked:
    """What agents cost while they wait, and how quickly they get work.

    `empty_handed` counts claims that ended without a job while jobs were handed out; `woken` is
    how often the master woke an agent for each job, `in_vain` how often none was left for it.
    """

    rss_kib_each: float
    pss_kib_each: float
    idle_cpu_percent: float
    handed_out_s: float
    submitted_s: float
    empty_handed: int
    woken: float
    in_vain: float


async def run(
    address: Address,
    pid: int,
    agents: Sequence[Agent],
    submitters: Sequence[str],
    *,
    viewer: str,
    idle_s: float,
) -> Parked:
    """Park every agent, watch the idle master, then submit a job for each agent."""
    ledger = JobAccounting()
    looking = (await callers(address, 1))[0]
    submit_callers = await callers(address, len(submitters))
    before = memory_kib(pid, "Rss"), memory_kib(pid, "Pss")
    agent_callers = await callers(address, len(agents))
    handing_out = False
    empty_handed = 0
    all_have = asyncio.Event()
    claims: list[tuple[Caller, AgentCalls, str]] = []

    async def park(caller: Caller, agent: Agent) -> None:
        nonlocal empty_handed
        said = AgentCalls(agent, _WAIT_S)
        answer = expect(await caller.call(said.claim), 200, NO_CONTENT)
        while answer.status == NO_CONTENT:
            empty_handed += handing_out
            answer = expect(await caller.call(said.claim), 200, NO_CONTENT)
        claim = calls.read_claim(answer.body)
        ledger.handed_out(claim.job.id, claim.attempt)
        claims.append((caller, said, claim.job.id))
        if len(claims) == len(agents):
            all_have.set()

    left = iter(agents)

    async def submit(caller: Caller, token: str) -> None:
        wanted = calls.submission(token)
        for _ in left:
            answer = expect(await caller.call(wanted), 201)
            ledger.submitted(calls.read_job(answer.body).id)

    async with asyncio.TaskGroup() as group:
        for caller, agent in zip(agent_callers, agents, strict=True):
            group.create_task(park(caller, agent))
        await _until_parked(looking, viewer, len(agents))
        after = memory_kib(pid, "Rss"), memory_kib(pid, "Pss")
        meter = CpuMeter(pid)
        await asyncio.sleep(idle_s)
        idle_cpu_percent = meter.percent()
        seen_before = await scraping.metrics(looking, viewer)
        handing_out = True
        start = time.perf_counter()
        await asyncio.gather(*map(submit, submit_callers, submitters))
        submitted_s = time.perf_counter() - start
        await all_have.wait()
        handed_out_s = time.perf_counter() - start
        handing_out = False
    seen = await scraping.metrics(looking, viewer)

    def rise(sample: str) -> float:
        return scraping.value(seen, sample) - scraping.value(seen_before, sample)

    await _hand_in(claims, ledger)
    ledger.check_settled()
    close_all([looking, *submit_callers, *agent_callers])
    return Parked(
        (after[0] - before[0]) / len(agents),
        (after[1] - before[1]) / len(agents),
        idle_cpu_percent,
        handed_out_s,
        submitted_s,
        empty_handed,
        rise("ffrtmp_master_claim_wakeups_total") / len(agents),
        rise("ffrtmp_master_claim_spurious_wakeups_total"),
    )


async def _until_parked(caller: Caller, viewer: str, agents: int) -> None:
    """Return when the master says that so many claims wait."""
    deadline = time.perf_counter() + _CONNECTED_S
    while True:
        text = await scraping.metrics(caller, viewer)
        found = scraping.value(text, "ffrtmp_master_claims_parked")
        if found == agents:
            return
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{found} of {agents} agents are parked")
        await asyncio.sleep(0.2)


async def _hand_in(claims: Sequence[tuple[Caller, AgentCalls, str]], ledger: JobAccounting) -> None:
    async def hand_in(caller: Caller, said: AgentCalls, job_id: str) -> None:
        answer = expect(await caller.call(said.result(job_id)), 200, 201)
        stored = calls.read_stored(answer.body)
        ledger.finished(job_id, state=stored.state, repeated=stored.repeated)

    await asyncio.gather(*(hand_in(*claim) for claim in claims))
