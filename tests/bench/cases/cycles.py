"""Rate of complete job cycles over TLS, with durable commits and one request per step."""

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line, ratios
from bench.load import cycles
from bench.process import in_own_process
from bench.reference import sqlite_cycles_per_s

_AGENTS = 50
_SUBMITTERS = 16
_BACKLOG = 200


def measure(context: BenchmarkContext) -> Line:
    """Measure job cycles in several rounds, each after a round of the reference measurement."""
    rounds = context.pick(7, 2)
    seconds = context.pick(10.0, 3.0)
    rates, reference, server, client = [], [], [], []
    steps: dict[str, list[tuple[float, float]]] = {}
    with (
        context.folder() as folder,
        context.on_sqlite(folder, nodes=_AGENTS, submitters=_SUBMITTERS) as master,
    ):
        for number in range(rounds):
            reference.append(sqlite_cycles_per_s(folder, seconds / 3))
            measured = in_own_process(
                cycles.run,
                master.address,
                master.pid,
                master.site.agents,
                master.site.submitters,
                seconds=seconds,
                backlog=_BACKLOG,
            )
            server.append(measured.server_cpu_percent)
            client.append(measured.client_cpu_percent)
            rates.append(measured.per_s)
            for step, latency in measured.latencies.items():
                steps.setdefault(step, []).append((latency.p50_ms, latency.p99_ms))
            context.log(f"round {number + 1}: {measured.per_s:.0f} cycles/s")
    return Line(
        key="cycles",
        title="Full cycles: submit, claim, heartbeat, result",
        conditions=(
            f"{_AGENTS} agents and {_SUBMITTERS} submitters, each with a persistent TLS "
            "connection; each step is a separate request; SQLite, synchronous=FULL, one process",
            f"{rounds} rounds of {seconds:g} s, each after {seconds / 3:.1f} s of the reference: "
            "the sqlite3 module alone, one connection, four durable transactions per cycle",
            "a job counts when its result has been acknowledged; every ID is checked",
        ),
        figures=(
            Figure(
                label="full cycles",
                unit="cycles/s",
                samples=tuple(rates),
                limit=Limit("at least", 1000),
                goal=Limit("at least", 1500),
            ),
            Figure(label="SQLite alone", unit="cycles/s", samples=tuple(reference)),
            Figure(label="ours / SQLite alone", unit="times", samples=ratios(rates, reference)),
            *(
                Figure(
                    label=f"{step} {name}, all callers busy",
                    unit="ms",
                    samples=tuple(pair[index] for pair in steps[step]),
                )
                for step in ("submit", "claim", "heartbeat", "result")
                for index, name in enumerate(("p50", "p99"))
            ),
            Figure(label="CPU of the master", unit="% of a core", samples=tuple(server)),
            Figure(label="CPU of the load", unit="% of a core", samples=tuple(client)),
        ),
    )
