"""A run of very many jobs, and what it does to the master and to agents meanwhile."""

import asyncio
import hashlib
import time
from dataclasses import dataclass

import msgspec

from bench import calls
from bench.calls import Agent, AgentCalls
from bench.load.timing import Latency
from bench.process import memory_kib, peak_rss_kib, reset_peak
from bench.wire import NO_CONTENT, Address, callers, close_all, expect

_CLIP = b"not really a clip" * 100
_RATE_POINTS = 100
_PAUSE_S = 0.005


@dataclass(frozen=True)
class Expanded:
    """A run that was queued: how long it took and how much memory it needed meanwhile.

    `claim` is what an agent saw that asked for work all the while.
    """

    seconds: float
    peak_growth_mib: float
    claim: Latency


async def run(address: Address, pid: int, agent: Agent, submitter: str, *, jobs: int) -> Expanded:
    """Queue a run of so many jobs."""
    sending, asking = await callers(address, 2)
    sha256 = hashlib.sha256(_CLIP).hexdigest()
    upload = calls.request("PUT", f"/v1/sources/{sha256}", submitter, _CLIP)
    expect(await sending.call(upload), 200, 201, 204)
    body = msgspec.json.encode({"suite": _suite(sha256, jobs), "seed": 1})
    order = calls.request("POST", "/v1/runs", submitter, body)
    is_queued = asyncio.Event()

    async def ask() -> Latency:
        """Ask for work as an agent does that has none; what it is given it keeps."""
        said = AgentCalls(agent, 0.0)
        took = []
        while not is_queued.is_set():
            start = time.perf_counter()
            answer = expect(await asking.call(said.claim), 200, NO_CONTENT)
            took.append(answer.at - start)
            await asyncio.sleep(_PAUSE_S)
        return Latency.of(took)

    before_kib = memory_kib(pid, "Rss")
    reset_peak(pid)
    asked = asyncio.create_task(ask())
    start = time.perf_counter()
    answer = expect(await sending.call(order), 201)
    seconds = answer.at - start
    growth_kib = peak_rss_kib(pid) - before_kib
    is_queued.set()
    claim = await asked
    close_all([sending, asking])
    counts = msgspec.json.decode(answer.body)["counts"]
    if sum(counts.values()) != jobs:
        raise LookupError(f"the run has {counts}, not {jobs} jobs")
    return Expanded(seconds, growth_kib / 1024, claim)


def _suite(sha256: str, jobs: int) -> str:
    points = "".join(f"  - {{bitrate_kbps: {1000 + n}}}\n" for n in range(_RATE_POINTS))
    return (
        "name: large\n"
        "sources:\n"
        f"  - {{name: clip, file: clip.mp4, sha256: {sha256}}}\n"
        f"encodes:\n  - {{name: x264, encoder: {calls.ENCODER}}}\n"
        f"rate_points:\n{points}"
        "placement: any\n"
        f"repeats: {jobs // _RATE_POINTS}\n"
    )
