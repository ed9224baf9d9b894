"""Load of thousands of agents whose claims are parked at one master."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import api_requests
from bench.api_requests import Agent, AgentCalls
from bench.http_client import NO_CONTENT, Address, Caller, callers, close_all, expect
from bench.job_accounting import JobAccounting
from bench.load import master_metrics
from bench.process import CpuMeter, memory_kib

_WAIT_S = 60.0
_CONNECTED_S = 60.0


@dataclass(frozen=True)
class ParkedOutcome:
    """The cost of each waiting agent, and the time until all agents have a job.

    `empty_claims` is the number of claims that ended without a job before every agent had one,
    `woken` is the number of wakeups per job, and `spurious` is the number of wakeups without a job.
    All three are counted from the submission of the first job.
    """

    rss_kib_each: float
    pss_kib_each: float
    idle_cpu_percent: float
    handed_out_s: float
    submitted_s: float
    empty_claims: int
    woken: float
    spurious: float


async def run(
    address: Address,
    pid: int,
    agents: Sequence[Agent],
    submitters: Sequence[str],
    *,
    viewer: str,
    idle_s: float,
) -> ParkedOutcome:
    """Park the claims of all agents, measure the idle master, and submit a job for each agent."""
    ledger = JobAccounting()
    metrics_caller = (await callers(address, 1))[0]
    submit_callers = await callers(address, len(submitters))
    before = memory_kib(pid, "Rss"), memory_kib(pid, "Pss")
    agent_callers = await callers(address, len(agents))
    are_jobs_submitted = False
    empty_claims = 0
    all_leased = asyncio.Event()
    claims: list[tuple[Caller, AgentCalls, str]] = []

    async def park(caller: Caller, agent: Agent) -> None:
        nonlocal empty_claims
        requests = AgentCalls(agent, _WAIT_S)
        answer = expect(await caller.call(requests.claim), 200, NO_CONTENT)
        while answer.status == NO_CONTENT:
            empty_claims += are_jobs_submitted
            answer = expect(await caller.call(requests.claim), 200, NO_CONTENT)
        claim = api_requests.read_claim(answer.body)
        ledger.handed_out(claim.job.id, claim.attempt)
        claims.append((caller, requests, claim.job.id))
        if len(claims) == len(agents):
            all_leased.set()

    remaining = iter(agents)

    async def submit(caller: Caller, token: str) -> None:
        request = api_requests.submission(token)
        for _ in remaining:
            answer = expect(await caller.call(request), 201)
            ledger.submitted(api_requests.read_job(answer.body).id)

    async with asyncio.TaskGroup() as group:
        for caller, agent in zip(agent_callers, agents, strict=True):
            group.create_task(park(caller, agent))
        await _until_parked(metrics_caller, viewer, len(agents))
        after = memory_kib(pid, "Rss"), memory_kib(pid, "Pss")
        meter = CpuMeter(pid)
        await asyncio.sleep(idle_s)
        idle_cpu_percent = meter.percent()
        metrics_before = await master_metrics.metrics(metrics_caller, viewer)
        are_jobs_submitted = True
        start = time.perf_counter()
        await asyncio.gather(*map(submit, submit_callers, submitters))
        submitted_s = time.perf_counter() - start
        await all_leased.wait()
        handed_out_s = time.perf_counter() - start
        are_jobs_submitted = False
    metrics_after = await master_metrics.metrics(metrics_caller, viewer)

    def growth(sample: str) -> float:
        return master_metrics.value(metrics_after, sample) - master_metrics.value(
            metrics_before, sample
        )

    await _report_results(claims, ledger)
    ledger.check_settled()
    close_all([metrics_caller, *submit_callers, *agent_callers])
    return ParkedOutcome(
        (after[0] - before[0]) / len(agents),
        (after[1] - before[1]) / len(agents),
        idle_cpu_percent,
        handed_out_s,
        submitted_s,
        empty_claims,
        growth("ffrtmp_master_claim_wakeups_total") / len(agents),
        growth("ffrtmp_master_claim_spurious_wakeups_total"),
    )


async def _until_parked(caller: Caller, viewer: str, agents: int) -> None:
    """Wait until the master reports that all claims are parked."""
    deadline = time.perf_counter() + _CONNECTED_S
    while True:
        text = await master_metrics.metrics(caller, viewer)
        found = master_metrics.value(text, "ffrtmp_master_claims_parked")
        if found == agents:
            return
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{found} of {agents} agents are parked")
        await asyncio.sleep(0.2)


async def _report_results(
    claims: Sequence[tuple[Caller, AgentCalls, str]], ledger: JobAccounting
) -> None:
    async def report_result(caller: Caller, requests: AgentCalls, job_id: str) -> None:
        answer = expect(await caller.call(requests.result(job_id)), 200, 201)
        stored = api_requests.read_stored(answer.body)
        ledger.finished(job_id, state=stored.state, repeated=stored.repeated)

    await asyncio.gather(*(report_result(*claim) for claim in claims))
