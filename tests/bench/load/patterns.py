"""Single jobs, whose rows are the pattern of a long history."""

from dataclasses import dataclass

from bench import calls
from bench.calls import Agent, AgentCalls
from bench.wire import Address, Caller, callers, close_all, expect


@dataclass(frozen=True)
class Patterns:
    """The ids of a finished job, of a queued one, and of queued ones that no node can do."""

    finished: str
    queued: str
    unmet: tuple[str, ...]


async def make(address: Address, agent: Agent, submitter: str, *, unmet: int) -> Patterns:
    """Let one job go the whole way, and submit others that stay."""
    (caller,) = await callers(address, 1)
    said = AgentCalls(agent, 1.0)
    finished = await _submit(caller, submitter)
    claim = calls.read_claim(expect(await caller.call(said.claim), 200).body)
    if claim.job.id != finished:
        raise LookupError(f"job {claim.job.id} was handed out, not {finished}")
    expect(await caller.call(said.heartbeat(finished)), 200)
    expect(await caller.call(said.result(finished)), 200, 201)
    queued = await _submit(caller, submitter)
    unmet_ids = [
        await _submit(caller, submitter, requirements={"labels": {"rack": f"none{number}"}})
        for number in range(unmet)
    ]
    close_all([caller])
    return Patterns(finished, queued, tuple(unmet_ids))


async def _submit(caller: Caller, token: str, **wanted: object) -> str:
    answer = expect(await caller.call(calls.submission(token, **wanted)), 201)
    return calls.read_job(answer.body).id
