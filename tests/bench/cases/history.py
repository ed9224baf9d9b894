"""Latency of claims when the history is long, and when jobs that no node can run come first."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from bench import job_history
from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line, ratios
from bench.load import cycles, registration, template_jobs
from bench.load.latency import Latency
from bench.master import Master, Site, on_file
from bench.process import in_own_process

_AGENTS = 50
_SUBMITTERS = 16
_UNMET_SETS = 100
_DAY_S = 86_400.0
_EMPTY, _FULL, _BEHIND = "empty history", "long history", "behind others"


def measure(context: BenchmarkContext) -> Line:
    """Measure claims at three masters that differ in the jobs that they already have."""
    # There are many short rounds, so that a temporary disturbance affects only a few of them.
    rounds = context.pick(21, 3)
    seconds = 2.0
    queued = context.pick(10_000, 1_000)
    finished = context.pick(1_000_000, 20_000)
    latencies: dict[str, list[Latency]] = {}
    with context.folder() as folder, ExitStack() as stack:
        site = Site.make(folder / "site", nodes=_AGENTS, submitters=_SUBMITTERS)
        masters = {
            _EMPTY: _create_master(folder, site, "empty", queued=queued, finished=0, unmet=0),
            _FULL: _create_master(folder, site, "full", queued=queued, finished=finished, unmet=0),
            _BEHIND: _create_master(
                folder, site, "behind", queued=queued, finished=0, unmet=queued
            ),
        }
        context.log("the databases are filled")
        counts = {name: _queued_jobs(folder, master) for name, master in masters.items()}
        for master in masters.values():
            stack.enter_context(master.serving())
        for number in range(rounds):
            names = list(masters)
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                master = masters[name]
                ran = in_own_process(
                    cycles.run,
                    master.address,
                    master.pid,
                    site.agents,
                    site.submitters,
                    seconds=seconds,
                    backlog=_AGENTS,
                    drain=False,
                )
                latencies.setdefault(name, []).append(ran.latencies["claim"])
                counts[name] += ran.submitted - ran.handed_out
                context.log(f"round {number + 1}: {name} {ran.latencies['claim'].p99_ms:.1f} ms")
        stack.close()
        _check(folder, masters, counts)
    return _line(latencies, rounds=rounds, seconds=seconds, queued=queued, finished=finished)


def _create_master(
    folder: Path, site: Site, name: str, *, queued: int, finished: int, unmet: int
) -> Master:
    """Create a master whose database contains the given numbers of jobs of each kind."""
    database = folder / f"{name}.db"
    master = Master(site, on_file(database), name)
    master.prepare()
    with master.serving():
        in_own_process(registration.register, master.address, site.agents)
        templates = in_own_process(
            template_jobs.create,
            master.address,
            site.agents[0],
            site.submitters[0],
            unmet=_UNMET_SETS if unmet else 0,
        )
    if finished:
        job_history.copy_job(database, templates.finished, finished, oldest_s_ago=365 * _DAY_S)
    job_history.copy_job(database, templates.queued, queued, oldest_s_ago=_DAY_S / 24)
    for job_id in templates.unmet:
        job_history.copy_job(database, job_id, unmet // _UNMET_SETS, oldest_s_ago=_DAY_S)
    return master


def _queued_jobs(folder: Path, master: Master) -> int:
    return job_history.count(folder / f"{master.name}.db", "queued")


def _check(folder: Path, masters: Mapping[str, Master], counts: Mapping[str, int]) -> None:
    """Raise LookupError unless the number of queued jobs is as expected."""
    for name, master in masters.items():
        found = _queued_jobs(folder, master)
        if found != counts[name]:
            raise LookupError(f"{name}: {found} jobs are queued, and should be {counts[name]}")


def _line(
    latencies: Mapping[str, list[Latency]],
    *,
    rounds: int,
    seconds: float,
    queued: int,
    finished: int,
) -> Line:
    p99 = {name: [round_.p99_ms for round_ in rounds_] for name, rounds_ in latencies.items()}
    p50 = {name: [round_.p50_ms for round_ in rounds_] for name, rounds_ in latencies.items()}
    return Line(
        key="history",
        title="Claims with a long history, and behind jobs that no node can run",
        conditions=(
            f"{_AGENTS} agents in full cycles at full load, {queued:,} jobs queued "
            f"throughout; SQLite; {rounds} rounds of {seconds:g} s on each of three masters; "
            "ratios are computed for each round",
            f"the long history: {finished:,} finished jobs with their transitions and results",
            f"behind others: {queued:,} older jobs, with {_UNMET_SETS} sets of requirements that "
            "no node meets, precede the measured ones",
        ),
        figures=(
            *(
                Figure(label=f"claim {statistic}, {name}", unit="ms", samples=tuple(each[name]))
                for name in latencies
                for statistic, each in (("p50", p50), ("p99", p99))
            ),
            *(
                Figure(
                    label=f"p99, {name} / {_EMPTY}",
                    unit="times",
                    samples=ratios(p99[name], p99[_EMPTY]),
                    limit=Limit("at most", 1.3),
                )
                for name in (_FULL, _BEHIND)
            ),
        ),
    )
