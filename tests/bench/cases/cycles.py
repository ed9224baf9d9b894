"""Full cycles a second, over TLS, each step its own request, durable."""

from bench.figures import Figure, Limit, Line, ratios
from bench.load import cycles
from bench.measurement import Measuring
from bench.process import in_own_process
from bench.reference import sqlite_cycles_per_s

_AGENTS = 50
_SUBMITTERS = 16
_BACKLOG = 200


def measure(measuring: Measuring) -> Line:
    """Run rounds of cycles, each beside a round of SQLite alone."""
    rounds = measuring.pick(7, 2)
    seconds = measuring.pick(10.0, 3.0)
    ours, alone, server, client = [], [], [], []
    steps: dict[str, list[tuple[float, float]]] = {}
    with (
        measuring.folder() as folder,
        measuring.on_sqlite(folder, nodes=_AGENTS, submitters=_SUBMITTERS) as master,
    ):
        for number in range(rounds):
            alone.append(sqlite_cycles_per_s(folder, seconds / 3))
            seen = in_own_process(
                cycles.run,
                master.address,
                master.pid,
                master.site.agents,
                master.site.submitters,
                seconds=seconds,
                backlog=_BACKLOG,
            )
            server.append(seen.server_cpu_percent)
            client.append(seen.client_cpu_percent)
            ours.append(seen.per_s)
            for step, latency in seen.latencies.items():
                steps.setdefault(step, []).append((latency.p50_ms, latency.p99_ms))
            measuring.say(f"round {number + 1}: {seen.per_s:.0f} cycles/s")
    return Line(
        key="cycles",
        title="Full cycles: submit, claim, heartbeat, result",
        conditions=(
            f"{_AGENTS} agents and {_SUBMITTERS} submitters, a kept TLS connection each, every "
            "step a request of its own; SQLite, synchronous=FULL, one process",
            f"{rounds} rounds of {seconds:g} s, each after {seconds / 3:.1f} s of the reference: "
            "the sqlite3 module alone, one connection, four durable transactions a cycle",
            "a job counts once its result was acknowledged; every id is checked",
        ),
        figures=(
            Figure(
                label="full cycles",
                unit="cycles/s",
                samples=tuple(ours),
                limit=Limit("at least", 1000),
                goal=Limit("at least", 1500),
            ),
            Figure(label="SQLite alone", unit="cycles/s", samples=tuple(alone)),
            Figure(label="ours / SQLite alone", unit="times", samples=ratios(ours, alone)),
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
