"""From the submission of a job to a waiting agent that has it."""

import asyncio
import time
from collections.abc import Sequence

from bench import calls
from bench.calls import Agent, AgentCalls
from bench.job_accounting import JobAccounting
from bench.load.timing import Latency
from bench.wire import NO_CONTENT, Address, Caller, callers, close_all, expect

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
    """Submit at a steady rate; the agents are parked on the masters in turn.

    A job's time begins when it is its turn, whether or not a connection is free to submit it.
    """
    ledger = JobAccounting()
    sent: dict[str, float] = {}
    received: dict[str, float] = {}
    is_over = asyncio.Event()
    share = [list(agents[index :: len(park_on)]) for index in range(len(park_on))]
    parked: list[tuple[Caller, Agent]] = []
    for address, those in zip(park_on, share, strict=True):
        parked += zip(await callers(address, len(those)), those, strict=True)
    free: asyncio.Queue[tuple[Caller, bytes]] = asyncio.Queue()
    for caller, token in zip(await callers(submit_to, len(submitters)), submitters, strict=True):
        free.put_nowait((caller, calls.submission(token)))

    async def work(caller: Caller, agent: Agent) -> None:
        said = AgentCalls(agent, _WAIT_S)
        while not (is_over.is_set() and ledger.is_settled):
            answer = expect(await caller.call(said.claim), 200, NO_CONTENT)
            if answer.status == NO_CONTENT:
                continue
            claim = calls.read_claim(answer.body)
            ledger.handed_out(claim.job.id, claim.attempt)
            received[claim.job.id] = answer.at
            stored = calls.read_stored(
                expect(await caller.call(said.result(claim.job.id)), 200, 201).body
            )
            ledger.finished(claim.job.id, state=stored.state, repeated=stored.repeated)

    async def submit(start: float) -> None:
        caller, wanted = await free.get()
        job_id = calls.read_job(expect(await caller.call(wanted), 201).body).id
        sent[job_id] = start
        ledger.submitted(job_id)
        free.put_nowait((caller, wanted))

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
