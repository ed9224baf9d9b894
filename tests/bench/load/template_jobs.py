"""Creation of jobs whose rows are copied to make a long history."""

from dataclasses import dataclass

from bench import api_requests
from bench.api_requests import Agent, AgentCalls
from bench.http_client import Address, Caller, callers, close_all, expect


@dataclass(frozen=True)
class TemplateJobs:
    """The ids of a finished job, a queued job, and queued jobs that no node can run."""

    finished: str
    queued: str
    unmet: tuple[str, ...]


async def create(address: Address, agent: Agent, submitter: str, *, unmet: int) -> TemplateJobs:
    """Complete one job, and submit jobs that stay queued."""
    (caller,) = await callers(address, 1)
    requests = AgentCalls(agent, 1.0)
    finished = await _submit(caller, submitter)
    claim = api_requests.read_claim(expect(await caller.call(requests.claim), 200).body)
    if claim.job.id != finished:
        raise LookupError(f"job {claim.job.id} was handed out, not {finished}")
    expect(await caller.call(requests.heartbeat(finished)), 200)
    expect(await caller.call(requests.result(finished)), 200, 201)
    queued = await _submit(caller, submitter)
    unmet_ids = [
        await _submit(caller, submitter, requirements={"labels": {"rack": f"none{number}"}})
        for number in range(unmet)
    ]
    close_all([caller])
    return TemplateJobs(finished, queued, tuple(unmet_ids))


async def _submit(caller: Caller, token: str, **fields: object) -> str:
    answer = expect(await caller.call(api_requests.submission(token, **fields)), 201)
    return api_requests.read_job(answer.body).id
