"""Load of ten thousand nodes that each send a request every twenty seconds."""

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line
from bench.load import nodes
from bench.load.nodes import Rhythm
from bench.process import in_own_process

_CONNECTIONS = 64


def measure(context: BenchmarkContext) -> Line:
    """Send the requests of all nodes in turn, of which some run jobs."""
    count = context.pick(10_000, 500)
    every_s = context.pick(20.0, 5.0)
    seconds = context.pick(180.0, 30.0)
    first = context.pick(1000, 50)
    jobs_per_s = context.pick(10.0, 5.0)
    with (
        context.folder() as folder,
        context.on_sqlite(folder, nodes=count, submitters=1) as master,
    ):
        context.log("the nodes are registered")
        outcome = in_own_process(
            nodes.run,
            master.address,
            master.pid,
            master.site.agents,
            master.site.submitters[0],
            viewer=master.site.viewer,
            rhythm=Rhythm(every_s, seconds, first, jobs_per_s),
            connections=_CONNECTIONS,
        )

    def figure(label: str, unit: str, value: float, limit: Limit | None = None) -> Figure:
        return Figure(label=label, unit=unit, samples=(value,), limit=limit)

    return Line(
        key="nodes",
        title=f"{count:,} nodes, each with a request every {every_s:g} s",
        conditions=(
            f"every node has a separate credential; they share {_CONNECTIONS} TLS connections; "
            "an idle node sends claims, a working node renews its lease three times, then delivers "
            "its result",
            f"{first:,} jobs at the start and {jobs_per_s:g} more per second, for {seconds:g} s; "
            "leases of 60 s, offline after 60 s; the metrics are scraped every 15 s; SQLite, one "
            "process",
        ),
        figures=(
            figure(
                "nodes falsely reported as offline", "nodes", outcome.offline, Limit("at most", 0)
            ),
            figure("expired leases", "leases", outcome.expired, Limit("at most", 0)),
            figure("claim p50", "ms", outcome.latencies["claim"].p50_ms),
            figure("claim p99", "ms", outcome.latencies["claim"].p99_ms, Limit("under", 500)),
            figure("heartbeat p50", "ms", outcome.latencies["heartbeat"].p50_ms),
            figure("heartbeat p99", "ms", outcome.latencies["heartbeat"].p99_ms),
            figure("scrape of the metrics, p50", "ms", outcome.latencies["scrape"].p50_ms),
            figure("requests", "1/s", outcome.requests_per_s),
            figure("jobs finished", "jobs", outcome.jobs),
            figure("CPU of the master", "% of a core", outcome.server_cpu_percent),
            figure("maximum lag of the load generator", "s", outcome.late_s),
        ),
    )
