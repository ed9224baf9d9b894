"""Load that measures the latency from the submission of a job to its delivery to an agent."""

import asyncio
import time
from collections.abc import Sequence

from bench import api_requests
from bench.api_requests import Agent, AgentCalls
from bench.http_client import NO_CONTENT, Address, Caller, callers, close_all, expect
from bench.job_accounting import JobAccounting
from bench.load.latency import Latency

_WAIT_S = 5.0
_SETTLE_S = 1.0


async def run(
    submit_to: Address,
    park_on: Sequence[Address],
    agents: Sequence[Agent],
    submitters: Sequence[str],
    *,
    jobs_per_s: float,
    seconds: float,
) -> Latency:
    """Submit jobs at a constant rate to one master, while agents wait at the masters of `park_on`.

    The latency of a job includes the time that it waits for a free connection to be submitted.
    """
    ledger = JobAccounting()
    sent: dict[str, float] = {}
    received: dict[str, float] = {}
    is_over = asyncio.Event()
    share = [list(agents[index :: len(park_on)]) for index in range(len(park_on))]
    parked: list[tuple[Caller, Agent]] = []
    for address, assigned in zip(park_on, share, strict=True):
        parked += zip(await callers(address, len(assigned)), assigned, strict=True)
    free: asyncio.Queue[tuple[Caller, bytes]] = asyncio.Queue()
    for caller, token in zip(await callers(submit_to, len(submitters)), submitters, strict=True):
        free.put_nowait((caller, api_requests.submission(token)))

    async def work(caller: Caller, agent: Agent) -> None:
        requests = AgentCalls(agent, _WAIT_S)
        while not (is_over.is_set() and ledger.is_settled):
            answer = expect(await caller.call(requests.claim), 200, NO_CONTENT)
            if answer.status == NO_CONTENT:
                continue
            claim = api_requests.read_claim(answer.body)
            ledger.handed_out(claim.job.id, claim.attempt)
            received[claim.job.id] = answer.at
            stored = api_requests.read_stored(
                expect(await caller.call(requests.result(claim.job.id)), 200, 201).body
            )
            ledger.finished(claim.job.id, state=stored.state, repeated=stored.repeated)

    async def submit(start: float) -> None:
        caller, request = await free.get()
        job_id = api_requests.read_job(expect(await caller.call(request), 201).body).id
        sent[job_id] = start
        ledger.submitted(job_id)
        free.put_nowait((caller, request))

    async with asyncio.TaskGroup() as group:
        for caller, agent in parked:
            group.create_task(work(caller, agent))
        await asyncio.sleep(_SETTLE_S)
        begin = time.perf_counter()
        submissions = []
        for number in range(int(jobs_per_s * seconds)):
            await asyncio.sleep(begin + number / jobs_per_s - time.perf_counter())
            submissions.append(group.create_task(submit(time.perf_counter())))
        await asyncio.wait(submissions)
        is_over.set()
    ledger.check_settled()
    close_all([caller for caller, _ in parked])
    while not free.empty():
        free.get_nowait()[0].close()
    return Latency.of([received[job_id] - sent[job_id] for job_id in sent])
