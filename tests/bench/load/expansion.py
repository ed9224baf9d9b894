"""Load that expands a large run, and measures the master's memory and the latency of claims."""

import asyncio
import hashlib
import time
from dataclasses import dataclass

import msgspec

from bench import api_requests
from bench.api_requests import Agent, AgentCalls
from bench.http_client import NO_CONTENT, Address, callers, close_all, expect
from bench.load.latency import Latency
from bench.process import memory_kib, peak_rss_kib, reset_peak

_CLIP = b"not really a clip" * 100
_RATE_POINTS = 100
_PAUSE_S = 0.005


@dataclass(frozen=True)
class ExpansionOutcome:
    """The duration of the expansion of a run, and the growth of the master's memory.

    `claim` is the latency of an agent's claims during the expansion.
    """

    seconds: float
    peak_growth_mib: float
    claim: Latency


async def run(
    address: Address, pid: int, agent: Agent, submitter: str, *, jobs: int
) -> ExpansionOutcome:
    """Queue a run with `jobs` jobs while an agent claims jobs."""
    submit_caller, claim_caller = await callers(address, 2)
    sha256 = hashlib.sha256(_CLIP).hexdigest()
    upload = api_requests.request("PUT", f"/v1/sources/{sha256}", submitter, _CLIP)
    expect(await submit_caller.call(upload), 200, 201, 204)
    body = msgspec.json.encode({"suite": _suite(sha256, jobs), "seed": 1})
    request = api_requests.request("POST", "/v1/runs", submitter, body)
    is_queued = asyncio.Event()

    async def claim_repeatedly() -> Latency:
        """Claim jobs continuously without reporting results."""
        requests = AgentCalls(agent, 0.0)
        durations = []
        while not is_queued.is_set():
            start = time.perf_counter()
            answer = expect(await claim_caller.call(requests.claim), 200, NO_CONTENT)
            durations.append(answer.at - start)
            await asyncio.sleep(_PAUSE_S)
        return Latency.of(durations)

    before_kib = memory_kib(pid, "Rss")
    reset_peak(pid)
    claims = asyncio.create_task(claim_repeatedly())
    start = time.perf_counter()
    answer = expect(await submit_caller.call(request), 201)
    seconds = answer.at - start
    growth_kib = peak_rss_kib(pid) - before_kib
    is_queued.set()
    claim = await claims
    close_all([submit_caller, claim_caller])
    counts = msgspec.json.decode(answer.body)["counts"]
    if sum(counts.values()) != jobs:
        raise LookupError(f"the run has {counts}, not {jobs} jobs")
    return ExpansionOutcome(seconds, growth_kib / 1024, claim)


def _suite(sha256: str, jobs: int) -> str:
    points = "".join(f"  - {{bitrate_kbps: {1000 + n}}}\n" for n in range(_RATE_POINTS))
    return (
        "name: large\n"
        "sources:\n"
        f"  - {{name: clip, file: clip.mp4, sha256: {sha256}}}\n"
        f"encodes:\n  - {{name: x264, encoder: {api_requests.ENCODER}}}\n"
        f"rate_points:\n{points}"
        "placement: any\n"
        f"repeats: {jobs // _RATE_POINTS}\n"
    )
