"""No-op jobs: all are submitted, then all are worked off."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import calls
from bench.calls import Agent, AgentCalls
from bench.job_accounting import JobAccounting
from bench.wire import NO_CONTENT, Address, Caller, callers, close_all, expect


@dataclass(frozen=True)
class Worked:
    """How long it took to submit the jobs, and to work them off."""

    enqueue_s: float
    process_s: float


async def run(
    address: Address, agents: Sequence[Agent], submitters: Sequence[str], *, jobs: int
) -> Worked:
    """Submit each job in a request of its own; an agent hands in and claims the next in one."""
    ledger = JobAccounting()
    submit_callers = await callers(address, len(submitters))
    left = iter(range(jobs))

    async def submit(caller: Caller, token: str) -> None:
        wanted = calls.submission(token)
        for _ in left:
            answer = expect(await caller.call(wanted), 201)
            ledger.submitted(calls.read_job(answer.body).id)

    start = time.perf_counter()
    await asyncio.gather(*map(submit, submit_callers, submitters))
    enqueue_s = time.perf_counter() - start
    close_all(submit_callers)

    agent_callers = await callers(address, len(agents))

    async def work(caller: Caller, agent: Agent) -> None:
        said = AgentCalls(agent, 0.0)
        answer = expect(await caller.call(said.claim), 200, NO_CONTENT)
        claim = None if answer.status == NO_CONTENT else calls.read_claim(answer.body)
        while claim is not None:
            job_id = claim.job.id
            ledger.handed_out(job_id, claim.attempt)
            answer = expect(await caller.call(said.result_and_next(job_id)), 200, 201)
            stored = calls.read_stored(answer.body)
            ledger.finished(job_id, state=stored.state, repeated=stored.repeated)
            claim = stored.next

    start = time.perf_counter()
    await asyncio.gather(*map(work, agent_callers, agents))
    process_s = time.perf_counter() - start
    ledger.check_settled()
    close_all(agent_callers)
    return Worked(enqueue_s, process_s)
