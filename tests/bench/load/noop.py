"""Load of no-op jobs, which are all submitted before the first one is processed."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import api_requests
from bench.api_requests import Agent, AgentCalls
from bench.http_client import NO_CONTENT, Address, Caller, callers, close_all, expect
from bench.job_accounting import JobAccounting


@dataclass(frozen=True)
class NoopOutcome:
    """The time that the submission and the processing of all jobs took."""

    enqueue_s: float
    process_s: float


async def run(
    address: Address, agents: Sequence[Agent], submitters: Sequence[str], *, jobs: int
) -> NoopOutcome:
    """Submit and process the jobs.

    Each job is submitted in a separate request. Agents report a result and claim the next job in
    the same request.
    """
    ledger = JobAccounting()
    submit_callers = await callers(address, len(submitters))
    remaining = iter(range(jobs))

    async def submit(caller: Caller, token: str) -> None:
        request = api_requests.submission(token)
        for _ in remaining:
            answer = expect(await caller.call(request), 201)
            ledger.submitted(api_requests.read_job(answer.body).id)

    start = time.perf_counter()
    await asyncio.gather(*map(submit, submit_callers, submitters))
    enqueue_s = time.perf_counter() - start
    close_all(submit_callers)

    agent_callers = await callers(address, len(agents))

    async def work(caller: Caller, agent: Agent) -> None:
        requests = AgentCalls(agent, 0.0)
        answer = expect(await caller.call(requests.claim), 200, NO_CONTENT)
        claim = None if answer.status == NO_CONTENT else api_requests.read_claim(answer.body)
        while claim is not None:
            job_id = claim.job.id
            ledger.handed_out(job_id, claim.attempt)
            answer = expect(await caller.call(requests.result_and_next(job_id)), 200, 201)
            stored = api_requests.read_stored(answer.body)
            ledger.finished(job_id, state=stored.state, repeated=stored.repeated)
            claim = stored.next

    start = time.perf_counter()
    await asyncio.gather(*map(work, agent_callers, agents))
    process_s = time.perf_counter() - start
    ledger.check_settled()
    close_all(agent_callers)
    return NoopOutcome(enqueue_s, process_s)
