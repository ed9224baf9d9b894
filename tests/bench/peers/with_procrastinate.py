"""Enqueue no-op jobs with procrastinate, or work them off; run by the peers' own interpreter.

Where PostgreSQL is stands in libpq's environment variables. The producers wait for each job to
be stored before they send the next; the worker is procrastinate's own, as its documentation
starts it inside a program.
"""

import asyncio
import json
import sys
import time

import procrastinate

Said = dict[str, float | str]

PRODUCERS = 50
CONCURRENCY = 50
POOL_CONNECTIONS = 10

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(min_size=POOL_CONNECTIONS, max_size=POOL_CONNECTIONS)
)
seen: list[int] = []


@app.task(name="noop")
async def noop(number: int) -> None:
    """Do nothing but count."""
    seen.append(number)


async def prepare() -> Said:
    """Make procrastinate's tables."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    return {}


async def enqueue(jobs: int) -> Said:
    """Defer jobs one at a time from so many producers at once."""
    numbers = iter(range(jobs))

    async def produce() -> None:
        for number in numbers:
            await noop.defer_async(number=number)

    async with app.open_async():
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(PRODUCERS):
                group.create_task(produce())
        return {"seconds": time.perf_counter() - start}


async def process(jobs: int) -> Said:
    """Run a worker until the queue is empty."""
    async with app.open_async():
        start = time.perf_counter()
        await app.run_worker_async(
            concurrency=CONCURRENCY, wait=False, install_signal_handlers=False
        )
        seconds = time.perf_counter() - start
    if sorted(seen) != list(range(jobs)):
        raise SystemExit(f"of {jobs} jobs {len(seen)} were done, {len(set(seen))} different ones")
    return {"seconds": seconds}


def main() -> None:
    """Do what the command line says; say the figures as JSON."""
    command = sys.argv[1]
    deed = {"enqueue": enqueue, "process": process}.get(command)
    answer = asyncio.run(prepare() if deed is None else deed(int(sys.argv[2])))
    answer["version"] = procrastinate.__version__
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
