"""Ten thousand nodes that are heard of every twenty seconds."""

from bench.figures import Figure, Limit, Line
from bench.load import nodes
from bench.load.nodes import Rhythm
from bench.measurement import Measuring
from bench.process import in_own_process

_CONNECTIONS = 64


def measure(measuring: Measuring) -> Line:
    """Let all nodes speak in turn; some of them work."""
    count = measuring.pick(10_000, 500)
    every_s = measuring.pick(20.0, 5.0)
    seconds = measuring.pick(180.0, 30.0)
    first = measuring.pick(1000, 50)
    jobs_per_s = measuring.pick(10.0, 5.0)
    with (
        measuring.folder() as folder,
        measuring.on_sqlite(folder, nodes=count, submitters=1) as master,
    ):
        measuring.say("the nodes are registered")
        seen = in_own_process(
            nodes.run,
            master.address,
            master.pid,
            master.site.agents,
            master.site.submitters[0],
            viewer=master.site.viewer,
            rhythm=Rhythm(every_s, seconds, first, jobs_per_s),
            connections=_CONNECTIONS,
        )

    def alone(label: str, unit: str, value: float, limit: Limit | None = None) -> Figure:
        return Figure(label=label, unit=unit, samples=(value,), limit=limit)

    return Line(
        key="nodes",
        title=f"{count:,} nodes, each heard of every {every_s:g} s",
        conditions=(
            f"every node has its own credential; they share {_CONNECTIONS} TLS connections; an "
            "idle one asks for work, one that works renews its lease three times, then hands in",
            f"{first:,} jobs at the start and {jobs_per_s:g} more a second, for {seconds:g} s; "
            "leases of 60 s, offline after 60 s; the metrics are scraped every 15 s; SQLite, one "
            "process",
        ),
        figures=(
            alone("nodes falsely called offline", "nodes", seen.offline, Limit("at most", 0)),
            alone("leases that ran out", "leases", seen.expired, Limit("at most", 0)),
            alone("claim p50", "ms", seen.latencies["claim"].p50_ms),
            alone("claim p99", "ms", seen.latencies["claim"].p99_ms, Limit("under", 500)),
            alone("heartbeat p50", "ms", seen.latencies["heartbeat"].p50_ms),
            alone("heartbeat p99", "ms", seen.latencies["heartbeat"].p99_ms),
            alone("a scrape of the metrics, p50", "ms", seen.latencies["scrape"].p50_ms),
            alone("requests", "1/s", seen.requests_per_s),
            alone("jobs finished", "jobs", seen.jobs),
            alone("CPU of the master", "% of a core", seen.server_cpu_percent),
            alone("greatest lag of the simulation itself", "s", seen.late_s),
        ),
    )
