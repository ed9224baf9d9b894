"""Rate of no-op jobs, compared with other queues on the same computer."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from postgresql import Database

from bench.cluster import Cluster
from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line, ratios
from bench.load import noop, registration
from bench.master import Master, Site, on_file
from bench.process import in_own_process

_AGENTS = 50
_PRODUCERS = 50
_PEERS = Path(__file__).resolve().parents[1] / "peers"
_MASTER_SQLITE = "ours, SQLite"
_MASTER_POSTGRESQL = "ours, PostgreSQL"

Seconds = tuple[float, float]
"""The seconds that a queue takes to enqueue all jobs, and to process them."""


def measure(context: BenchmarkContext) -> Line:
    """Process the same number of jobs with each queue; in a round, the queues run in turn."""
    rounds = context.pick(9, 1)
    jobs = context.pick(5000, 2000)
    durations: dict[str, list[Seconds]] = {}
    versions: dict[str, str] = {}
    with context.folder() as folder, context.postgresql(folder) as cluster:
        queues = _queues(context, cluster, jobs, versions)
        for number in range(rounds):
            # The order rotates, so that no queue always runs after the same other queue.
            shift = number % len(queues)
            names = list(queues)
            for name in names[shift:] + names[:shift]:
                place = folder / f"{number}-{name.replace(', ', '-')}"
                place.mkdir()
                durations.setdefault(name, []).append(queues[name](place))
                context.log(
                    f"round {number + 1}: {name} {jobs / sum(durations[name][-1]):.0f} jobs/s"
                )
        versions["PostgreSQL"] = cluster.version
    return _line(durations, versions, rounds, jobs)


def _queues(
    context: BenchmarkContext, cluster: Cluster, jobs: int, versions: dict[str, str]
) -> Mapping[str, Callable[[Path], Seconds]]:
    def run_master(folder: Path, database: Database) -> Seconds:
        site = Site.make(folder / "site", nodes=_AGENTS, submitters=_PRODUCERS)
        master = Master(site, database, "master")
        master.prepare()
        with master.serving():
            in_own_process(registration.register, master.address, site.agents)
            worked = in_own_process(
                noop.run, master.address, site.agents, site.submitters, jobs=jobs
            )
        return worked.enqueue_s, worked.process_s

    def peer(name: str, environment: Mapping[str, str], *enqueue_with: str) -> Seconds:
        script = _PEERS / f"with_{name}.py"
        seconds = []
        for command in (["enqueue", str(jobs), *enqueue_with], ["process", str(jobs)]):
            answer = _run(context.peers_python, script, command, environment)
            seconds.append(float(answer["seconds"]))
            versions[name] = answer["version"]
        return seconds[0], seconds[1]

    def on_postgresql(name: str) -> Seconds:
        cluster.renew("peer")
        environment = cluster.environment("peer")
        _run(context.peers_python, _PEERS / f"with_{name}.py", ["prepare"], environment)
        return peer(name, environment)

    return {
        _MASTER_SQLITE: lambda folder: run_master(folder, on_file(folder / "farm.db")),
        _MASTER_POSTGRESQL: lambda folder: run_master(folder, cluster.renew("master")),
        "procrastinate": lambda _folder: on_postgresql("procrastinate"),
        "pgqueuer": lambda _folder: on_postgresql("pgqueuer"),
        "huey": lambda folder: peer(
            "huey", {"BENCH_FILE": str(folder / "huey.db")}, str(_PRODUCERS)
        ),
    }


def _run(
    python: Path, script: Path, command: list[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Run the program of a peer in the peers' virtual environment, and return its output."""
    done = subprocess.run(
        [python, script, *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script.name} {command[0]} failed: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _line(
    durations: Mapping[str, list[Seconds]], versions: Mapping[str, str], rounds: int, jobs: int
) -> Line:
    rates = {name: [jobs / sum(pair) for pair in each] for name, each in durations.items()}

    def ratio(measured: str, peer: str, limit: Limit) -> Figure:
        samples = ratios(rates[measured], rates[peer])
        return Figure(label=f"{measured} / {peer}", unit="times", samples=samples, limit=limit)

    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return Line(
        key="noop",
        title="No-op jobs, compared with other queues",
        conditions=(
            f"{jobs:,} jobs are enqueued by {_PRODUCERS} producers that wait for each job to be "
            f"stored, then processed {_AGENTS} at a time; {rounds} rounds, alternating; "
            "a new database for each",
            f"{named}; one PostgreSQL for all, with its default durability; SQLite with "
            "synchronous=FULL for all",
            "all connections to a server use TLS: from our agents to the master, and from the "
            "master and from the producers and workers of the others to PostgreSQL; huey opens a "
            "file",
        ),
        figures=(
            *(
                Figure(label=f"{name}: enqueued and processed", unit="jobs/s", samples=tuple(each))
                for name, each in rates.items()
            ),
            *(
                Figure(
                    label=f"{name}: {action}",
                    unit="jobs/s",
                    samples=tuple(jobs / pair[index] for pair in each),
                )
                for name, each in durations.items()
                for index, action in enumerate(("enqueued", "processed"))
            ),
            ratio(_MASTER_SQLITE, "procrastinate", Limit("at least", 8)),
            ratio(_MASTER_POSTGRESQL, "procrastinate", Limit("at least", 4)),
            ratio(_MASTER_POSTGRESQL, "pgqueuer", Limit("above", 1)),
            ratio(_MASTER_SQLITE, "pgqueuer", Limit("above", 1)),
            ratio(_MASTER_SQLITE, "huey", Limit("above", 1)),
        ),
    )
