"""Agents make their nodes known."""

import asyncio
from collections.abc import Sequence

from bench import calls
from bench.calls import Agent
from bench.wire import Address, Caller, callers, close_all, expect

_CONNECTIONS = 32


async def register(address: Address, agents: Sequence[Agent]) -> None:
    """Register the node of every agent."""
    left = iter(agents)
    made = await callers(address, min(_CONNECTIONS, len(agents)))

    async def work(caller: Caller) -> None:
        for agent in left:
            answer = await caller.call(calls.registration(agent.node, agent.token))
            expect(answer, 200, 201)

    await asyncio.gather(*(work(caller) for caller in made))
    close_all(made)
