"""Cost of a worker's exporters: their memory and the latency of a scrape."""

from contextlib import ExitStack

from postgresql import free_port

from bench.context import BenchmarkContext
from bench.exporter_site import ExporterSite, issue_certificate
from bench.figures import Figure, Limit, Line, quantile
from bench.process import memory_kib

_FARM_EXPORTERS = ("cpu", "ffmpeg", "gpu", "docker_stats")
_KIB_PER_MIB = 1024


def measure(context: BenchmarkContext) -> Line:
    """Scrape each exporter and node_exporter alternately."""
    scrapes = context.pick(500, 20)
    durations_ms: dict[str, list[float]] = {}
    rss_mib: dict[str, float] = {}
    with context.folder() as folder, ExitStack() as stack:
        issue_certificate(folder)
        site = ExporterSite(folder, folder)
        stack.enter_context(site.engine())
        ports = {name: free_port() for name in (*_FARM_EXPORTERS, "node_exporter")}
        pids = {
            name: stack.enter_context(site.exporter(name, ports[name])) for name in _FARM_EXPORTERS
        }
        pids["node_exporter"] = stack.enter_context(site.node_exporter(ports["node_exporter"]))
        for _ in range(scrapes):
            for name, port in ports.items():
                durations_ms.setdefault(name, []).append(site.scrape(port) * 1000)
        for name, pid in pids.items():
            rss_mib[name] = memory_kib(pid, "Rss") / _KIB_PER_MIB
    return Line(
        key="exporters",
        title="Scrapes of each exporter, compared with node_exporter",
        conditions=(
            f"{scrapes} scrapes of each, alternating; every scrape opens a new TLS connection with "
            "a client certificate",
            "node_exporter of Debian, with its default collectors, also over TLS",
            "docker_stats reads podman's service, which has no containers",
        ),
        figures=(
            *(
                Figure(
                    label=f"scrape p99, {name}",
                    unit="ms",
                    samples=(quantile(times, 0.99),),
                    limit=Limit("under", 20) if name in _FARM_EXPORTERS else None,
                )
                for name, times in durations_ms.items()
            ),
            *(
                Figure(
                    label=f"memory, {name}",
                    unit="MiB",
                    samples=(mib,),
                    limit=Limit("under", 35) if name in _FARM_EXPORTERS else None,
                )
                for name, mib in rss_mib.items()
            ),
        ),
    )
