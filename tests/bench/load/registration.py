"""Registration of all agents' nodes."""

import asyncio
from collections.abc import Sequence

from bench import api_requests
from bench.api_requests import Agent
from bench.http_client import Address, Caller, callers, close_all, expect

_CONNECTIONS = 32


async def register(address: Address, agents: Sequence[Agent]) -> None:
    """Register the node of every agent."""
    remaining = iter(agents)
    opened = await callers(address, min(_CONNECTIONS, len(agents)))

    async def work(caller: Caller) -> None:
        for agent in remaining:
            answer = await caller.call(api_requests.registration(agent.node, agent.token))
            expect(answer, 200, 201)

    await asyncio.gather(*(work(caller) for caller in opened))
    close_all(opened)
