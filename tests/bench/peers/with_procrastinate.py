"""Program that enqueues or processes no-op jobs with procrastinate on PostgreSQL.

It runs in the virtual environment of the peers, and libpq's environment variables locate the
database. A producer waits until a job is stored before it sends the next one. The jobs are
processed by procrastinate's own worker, which the program starts as procrastinate's documentation
describes.
"""

import asyncio
import json
import sys
import time

import procrastinate

Output = dict[str, float | str]

PRODUCERS = 50
CONCURRENCY = 50
POOL_CONNECTIONS = 10

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(min_size=POOL_CONNECTIONS, max_size=POOL_CONNECTIONS)
)
processed: list[int] = []


@app.task(name="noop")
async def noop(number: int) -> None:
    """Do nothing except count the job."""
    processed.append(number)


async def prepare() -> Output:
    """Create the tables of procrastinate."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    return {}


async def enqueue(jobs: int) -> Output:
    """Enqueue jobs one at a time from several producers."""
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


async def process(jobs: int) -> Output:
    """Run a worker until the queue is empty."""
    async with app.open_async():
        start = time.perf_counter()
        await app.run_worker_async(
            concurrency=CONCURRENCY, wait=False, install_signal_handlers=False
        )
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
    answer = asyncio.run(prepare() if action is None else action(int(sys.argv[2])))
    answer["version"] = procrastinate.__version__
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
