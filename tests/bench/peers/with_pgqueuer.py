"""Enqueue no-op jobs with pgqueuer, or work them off; run by the peers' own interpreter.

Where PostgreSQL is stands in libpq's environment variables. As pgqueuer's page on performance
says: asyncpg, a pool for the producers, one connection for the queue manager, its settings for
autovacuum, and the default durability, which logs every table.
"""

import asyncio
import json
import sys
import time
from importlib.metadata import version

import asyncpg
import uvloop
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

Said = dict[str, float | str]

PRODUCERS = 50
CONNECTIONS = 10
BATCH = 50


async def prepare() -> Said:
    """Make pgqueuer's tables."""
    connection = await asyncpg.connect()
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()
    return {}


async def enqueue(jobs: int) -> Said:
    """Enqueue jobs one at a time from so many producers at once."""
    numbers = iter(range(jobs))
    async with asyncpg.create_pool(min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))

        async def produce() -> None:
            for number in numbers:
                await queries.enqueue("noop", str(number).encode())

        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(PRODUCERS):
                group.create_task(produce())
        return {"seconds": time.perf_counter() - start}


async def process(jobs: int) -> Said:
    """Run a queue manager until the queue is empty."""
    seen: list[int] = []
    manager = QueueManager(Queries(AsyncpgDriver(await asyncpg.connect())))

    @manager.entrypoint("noop")
    async def noop(job: Job) -> None:
        seen.append(int(job.payload or b""))

    start = time.perf_counter()
    await manager.run(batch_size=BATCH, mode=QueueExecutionMode.drain)
    seconds = time.perf_counter() - start
    if sorted(seen) != list(range(jobs)):
        raise SystemExit(f"of {jobs} jobs {len(seen)} were done, {len(set(seen))} different ones")
    return {"seconds": seconds}


def main() -> None:
    """Do what the command line says; say the figures as JSON."""
    command = sys.argv[1]
    deed = {"enqueue": enqueue, "process": process}.get(command)
    answer = uvloop.run(prepare() if deed is None else deed(int(sys.argv[2])))
    answer["version"] = version("pgqueuer")
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
