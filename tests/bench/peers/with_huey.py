"""Program that enqueues or processes no-op jobs with huey on SQLite.

It runs in the virtual environment of the peers. The option `fsync` makes huey set synchronous=FULL,
and huey's default journal mode is WAL. The jobs are processed by huey's own consumer, with threads
as workers.
"""

import json
import os
import sys
import threading
import time
from importlib.metadata import version

import huey

WORKERS = 50
BUSY_TIMEOUT_S = 60

queue = huey.SqliteHuey(
    "bench", filename=os.environ["BENCH_FILE"], fsync=True, timeout=BUSY_TIMEOUT_S
)
processed: list[int] = []
done = threading.Event()
wanted = 0


@queue.task()
def noop(number: int) -> None:
    """Do nothing except count the job."""
    processed.append(number)
    if len(processed) == wanted:
        done.set()


def enqueue(jobs: int, producers: int) -> dict[str, float]:
    """Enqueue jobs one at a time from several threads."""
    numbers = iter(range(jobs))
    lock = threading.Lock()

    def produce() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            noop(number)

    threads = [threading.Thread(target=produce) for _ in range(producers)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"seconds": time.perf_counter() - start}


def process(jobs: int) -> dict[str, float]:
    """Run a consumer until `jobs` jobs have been processed."""
    global wanted  # noqa: PLW0603 - the task must see it
    wanted = jobs
    consumer = queue.create_consumer(workers=WORKERS, worker_type="thread", periodic=False)
    start = time.perf_counter()
    consumer.start()
    done.wait()
    seconds = time.perf_counter() - start
    consumer.stop(graceful=True)
    if sorted(processed) != list(range(jobs)):
        raise SystemExit(
            f"{len(processed)} of {jobs} jobs were processed, {len(set(processed))} different ones"
        )
    return {"seconds": seconds}


def main() -> None:
    """Run the command and print the results as JSON."""
    command, *numbers = sys.argv[1:]
    answer: dict[str, float | str] = {}
    if command == "enqueue":
        answer.update(enqueue(int(numbers[0]), int(numbers[1])))
    elif command == "process":
        answer.update(process(int(numbers[0])))
    answer["version"] = version("huey")
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
