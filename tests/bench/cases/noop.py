"""No-op jobs a second, beside other queues on the same computer."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from postgresql import Database

from bench.cluster import Cluster
from bench.figures import Figure, Limit, Line, ratios
from bench.load import joining, noop
from bench.master import Master, Site, on_file
from bench.measurement import Measuring
from bench.process import in_own_process

_AGENTS = 50
_PRODUCERS = 50
_PEERS = Path(__file__).resolve().parents[1] / "peers"
_OURS_SQLITE = "ours, SQLite"
_OURS_POSTGRESQL = "ours, PostgreSQL"

Seconds = tuple[float, float]
"""How long it took to enqueue all jobs, and to process them."""


def measure(measuring: Measuring) -> Line:
    """Let everybody work off the same number of jobs, one after the other, round by round."""
    rounds = measuring.pick(9, 1)
    jobs = measuring.pick(5000, 2000)
    took: dict[str, list[Seconds]] = {}
    versions: dict[str, str] = {}
    with measuring.folder() as folder, measuring.postgresql(folder) as cluster:
        contestants = _contestants(measuring, cluster, jobs, versions)
        for number in range(rounds):
            # Everybody begins once, so that nobody always follows the same.
            shift = number % len(contestants)
            names = list(contestants)
            for name in names[shift:] + names[:shift]:
                place = folder / f"{number}-{name.replace(', ', '-')}"
                place.mkdir()
                took.setdefault(name, []).append(contestants[name](place))
                measuring.say(f"round {number + 1}: {name} {jobs / sum(took[name][-1]):.0f} jobs/s")
        versions["PostgreSQL"] = cluster.version
    return _line(took, versions, rounds, jobs)


def _contestants(
    measuring: Measuring, cluster: Cluster, jobs: int, versions: dict[str, str]
) -> Mapping[str, Callable[[Path], Seconds]]:
    def ours(folder: Path, database: Database) -> Seconds:
        site = Site.make(folder / "site", nodes=_AGENTS, submitters=_PRODUCERS)
        master = Master(site, database, "master")
        master.prepare()
        with master.serving():
            in_own_process(joining.register, master.address, site.agents)
            worked = in_own_process(
                noop.run, master.address, site.agents, site.submitters, jobs=jobs
            )
        return worked.enqueue_s, worked.process_s

    def peer(name: str, environment: Mapping[str, str], *enqueue_with: str) -> Seconds:
        script = _PEERS / f"with_{name}.py"
        took = []
        for command in (["enqueue", str(jobs), *enqueue_with], ["process", str(jobs)]):
            answer = _run(measuring.peers_python, script, command, environment)
            took.append(float(answer["seconds"]))
            versions[name] = answer["version"]
        return took[0], took[1]

    def on_postgresql(name: str) -> Seconds:
        cluster.renew("peer")
        environment = cluster.environment("peer")
        _run(measuring.peers_python, _PEERS / f"with_{name}.py", ["prepare"], environment)
        return peer(name, environment)

    return {
        _OURS_SQLITE: lambda folder: ours(folder, on_file(folder / "farm.db")),
        _OURS_POSTGRESQL: lambda folder: ours(folder, cluster.renew("ours")),
        "procrastinate": lambda _folder: on_postgresql("procrastinate"),
        "pgqueuer": lambda _folder: on_postgresql("pgqueuer"),
        "huey": lambda folder: peer(
            "huey", {"BENCH_FILE": str(folder / "huey.db")}, str(_PRODUCERS)
        ),
    }


def _run(
    python: Path, script: Path, command: list[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Run a peer's program in its own interpreter and read what it says."""
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
    took: Mapping[str, list[Seconds]], versions: Mapping[str, str], rounds: int, jobs: int
) -> Line:
    rates = {name: [jobs / sum(one) for one in each] for name, each in took.items()}

    def ratio(ours: str, theirs: str, limit: Limit) -> Figure:
        samples = ratios(rates[ours], rates[theirs])
        return Figure(label=f"{ours} / {theirs}", unit="times", samples=samples, limit=limit)

    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return Line(
        key="noop",
        title="No-op jobs, beside other queues",
        conditions=(
            f"{jobs:,} jobs are enqueued by {_PRODUCERS} producers that wait for each to be "
            f"stored, then worked off {_AGENTS} at a time; {rounds} rounds, taking turns; a new "
            "database every time",
            f"{named}; one PostgreSQL for all, its durability the default; SQLite with "
            "synchronous=FULL for all",
            "who asks a server asks it over TLS: our agents the master, the master and the others' "
            "producers and workers PostgreSQL; huey opens a file",
        ),
        figures=(
            *(
                Figure(label=f"{name}: enqueued and processed", unit="jobs/s", samples=tuple(each))
                for name, each in rates.items()
            ),
            *(
                Figure(
                    label=f"{name}: {deed}",
                    unit="jobs/s",
                    samples=tuple(jobs / one[index] for one in each),
                )
                for name, each in took.items()
                for index, deed in enumerate(("enqueued", "processed"))
            ),
            ratio(_OURS_SQLITE, "procrastinate", Limit("at least", 8)),
            ratio(_OURS_POSTGRESQL, "procrastinate", Limit("at least", 4)),
            ratio(_OURS_POSTGRESQL, "pgqueuer", Limit("above", 1)),
            ratio(_OURS_SQLITE, "pgqueuer", Limit("above", 1)),
            ratio(_OURS_SQLITE, "huey", Limit("above", 1)),
        ),
    )
