"""Latency from the submission of a job to its delivery to a waiting agent."""

from contextlib import ExitStack
from pathlib import Path

from postgresql import Database

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line
from bench.load import dispatch, registration
from bench.load.latency import Latency
from bench.master import Master, Site, on_file, serving_all
from bench.process import in_own_process

_AGENTS = 50
_SUBMITTERS = 16
_JOBS_PER_S = 100.0
_ONE, _TWO = "SQLite, one master", "PostgreSQL, two masters"
_LIMITS_MS = {_ONE: (5.0, 25.0), _TWO: (10.0, 40.0)}


def measure(context: BenchmarkContext) -> Line:
    """Submit jobs at a constant rate while agents wait."""
    rounds = context.pick(7, 1)
    seconds = context.pick(10.0, 3.0)
    latencies: dict[str, list[Latency]] = {}
    with context.folder() as folder, ExitStack() as stack:
        cluster = stack.enter_context(context.postgresql(folder))
        single = _masters(folder, on_file(folder / "farm.db"), ["one"])
        pair = _masters(folder, cluster.renew("farm"), ["first", "second"])
        farms = {_ONE: single, _TWO: pair}
        for masters in farms.values():
            stack.enter_context(serving_all(masters))
            in_own_process(registration.register, masters[0].address, masters[0].site.agents)
        for number in range(rounds):
            for name, masters in farms.items():
                latency = in_own_process(
                    dispatch.run,
                    masters[0].address,
                    [master.address for master in masters],
                    masters[0].site.agents,
                    masters[0].site.submitters,
                    jobs_per_s=_JOBS_PER_S,
                    seconds=seconds,
                )
                latencies.setdefault(name, []).append(latency)
                context.log(
                    f"round {number + 1}: {name} {latency.p50_ms:.1f} / {latency.p99_ms:.1f} ms"
                )
    return Line(
        key="dispatch",
        title="Latency from submission to a waiting agent, on an idle farm",
        conditions=(
            f"{_AGENTS} agents wait, {_JOBS_PER_S:g} jobs/s are submitted over {_SUBMITTERS} "
            f"TLS connections; {rounds} rounds of {seconds:g} s, alternating",
            "with two masters, jobs are submitted to one, and half of the agents wait on each",
        ),
        figures=tuple(
            Figure(
                label=f"{statistic}, {name}",
                unit="ms",
                samples=tuple(getattr(latency, f"{statistic}_ms") for latency in each),
                limit=Limit("at most", limit) if limit else None,
            )
            for name, each in latencies.items()
            for statistic, limit in zip(
                ("p50", "p99", "max"), (*_LIMITS_MS[name], None), strict=True
            )
        ),
    )


def _masters(folder: Path, database: Database, names: list[str]) -> list[Master]:
    """Create several masters that share a database."""
    site = Site.make(folder / f"{names[0]}-site", nodes=_AGENTS, submitters=_SUBMITTERS)
    masters = [Master(site, database, name) for name in names]
    masters[0].prepare()
    return masters
