"""Program that enqueues or processes no-op jobs with pgqueuer on PostgreSQL.

It runs in the virtual environment of the peers, and libpq's environment variables locate the
database. The setup follows the page on performance in pgqueuer's documentation: asyncpg, a pool for
the producers, one connection for the queue manager, pgqueuer's settings for autovacuum, and the
default durability, with which the write-ahead log contains the changes of every table.
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

Output = dict[str, float | str]

PRODUCERS = 50
CONNECTIONS = 10
BATCH = 50


async def prepare() -> Output:
    """Create the tables of pgqueuer."""
    connection = await asyncpg.connect()
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()
    return {}


async def enqueue(jobs: int) -> Output:
    """Enqueue jobs one at a time from several producers."""
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


async def process(jobs: int) -> Output:
    """Run a queue manager until the queue is empty."""
    processed: list[int] = []
    manager = QueueManager(Queries(AsyncpgDriver(await asyncpg.connect())))

    @manager.entrypoint("noop")
    async def noop(job: Job) -> None:
        processed.append(int(job.payload or b""))

    start = time.perf_counter()
    await manager.run(batch_size=BATCH, mode=QueueExecutionMode.drain)
    seconds = time.perf_counter() - start
    if sorted(processed) != list(range(jobs)):
        raise SystemExit(
            f"{len(processed)} of {jobs} jobs were processed, {len(set(processed))} different ones"
        )
    return {"seconds": seconds}


def main() -> None:
    """Run the command and print the results as JSON."""
    command = sys.argv[1]
    action = {"enqueue": enqueue, "process": process}.get(command)
    answer = uvloop.run(prepare() if action is None else action(int(sys.argv[2])))
    answer["version"] = version("pgqueuer")
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
