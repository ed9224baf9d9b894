"""Cost of scraping a farm: the CPU time of its exporters, and the size of their metrics."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.node_models import ClockOffset, NodeHeartbeat
from postgresql import free_port
from victoria_metrics import (
    RELEASES,
    command,
    role_value,
    supports_job_sizes,
    write_scrape_config,
)

from bench.context import BenchmarkContext
from bench.exporter_site import HOST, ExporterSite
from bench.figures import Figure, Limit, Line
from bench.load import noop, registration
from bench.master import Master, Site, on_file
from bench.process import CpuMeter, in_own_process

_HOSTS = 4
_INTERVAL_S = 5
_DEFAULT_INTERVAL_S = 15
_DAY_S = 86_400
_WORKER_EXPORTERS = ("cpu", "gpu", "ffmpeg", "docker_stats")
_RESULT_EXPORTERS = ("results", "qoe", "cost")
_MASTER_EXPORTERS = (*_RESULT_EXPORTERS, "health")
_NODE_EXPORTER = "node"
_START_S = 120
_MIB = 2**20
_OF_WORKERS = "|".join(_WORKER_EXPORTERS)


class _Farm:
    """The exporters of a master and of its workers, and the ports and process ids of all."""

    def __init__(self, folder: Path, master: Master, stack: ExitStack) -> None:
        """Use a running master; the programs that `start` starts end with `stack`."""
        self.folder = folder
        self.master = master
        self.site = ExporterSite(folder, master.site.folder)
        self.url = f"https://{master.address.host}:{master.address.port}"
        self.token_file = folder / "viewer.token"
        self.token_file.write_text(master.site.viewer)
        self.ports: dict[str, int] = {}
        self.pids: dict[str, list[int]] = {}
        self._stack = stack

    def start(self) -> None:
        """Start all exporters, and register the workers with the ports of theirs."""
        self._stack.enter_context(self.site.engine())
        for number in range(_HOSTS):
            self._start_worker(number)
        shared = {"master_url": self.url, "token_file": str(self.token_file)}
        shared["ca_file"] = str(self.site.ca_file)
        for name in _RESULT_EXPORTERS:
            self.ports[name] = self._run(name, "", **shared)
        components = self.folder / "components.yml"
        components.write_text(json.dumps({"components": self._components()}))
        self.ports["health"] = self._run("health", "", components_file=str(components), **shared)

    def _start_worker(self, number: int) -> None:
        agent = self.master.site.agents[number]
        ports = {name: self._run(name, agent.node) for name in _WORKER_EXPORTERS}
        port = ports[_NODE_EXPORTER] = free_port()
        run = self.site.node_exporter(port, instance=agent.node, arguments=_collectors())
        self.pids.setdefault(_NODE_EXPORTER, []).append(self._stack.enter_context(run))
        with MasterClient(self.url, agent.token, self.site.ca_file) as client:
            with MasterClient(self.url, self.master.site.viewer, self.site.ca_file) as viewer:
                (node,) = (node for node in viewer.nodes() if node.name == agent.node)
            client.register(
                msgspec.structs.replace(node.registration, address=HOST, exporters=ports)
            )
            clock = ClockOffset(offset_s=0.0, uncertainty_s=0.01)
            client.send_node_heartbeat(agent.node, NodeHeartbeat(clock=clock, failed_unit_count=0))

    def _run(self, name: str, instance: str, **settings: Any) -> int:
        port = free_port()
        run = self.site.exporter(name, port, instance=instance, **settings)
        self.pids.setdefault(name, []).append(self._stack.enter_context(run))
        return port

    def _components(self) -> list[dict[str, Any]]:
        return [
            {"component": name, "probe": "exporter", "host": HOST, "port": self.ports[name]}
            for name in _RESULT_EXPORTERS
        ]


class _Database:
    """A VictoriaMetrics that scrapes the farm as its role sets it up."""

    def __init__(self, farm: _Farm) -> None:
        release = RELEASES[0]
        port = free_port()
        files = {
            "certificate_file": farm.site.certificate_file,
            "key_file": farm.site.key_file,
            "ca_file": farm.site.ca_file,
            "token_file": farm.token_file,
            "config_dir": farm.folder,
        }
        known = {
            "victoria_metrics_master_url": farm.url,
            "victoria_metrics_master_targets": [],
            "victoria_metrics_port": port,
            "victoria_metrics_job_size_limits": supports_job_sizes(release),
            "victoria_metrics_scrape_interval_s": _INTERVAL_S,
            **{
                f"victoria_metrics_{name}_targets": [f"{HOST}:{farm.ports[name]}"]
                for name in _MASTER_EXPORTERS
            },
            **{f"victoria_metrics_{name}": str(path) for name, path in files.items()},
        }
        write_scrape_config(known)
        name = "__victoria_metrics_command"
        self.command = command("victoria_metrics", name, release, known)
        self.data = farm.folder / "victoria-metrics/data"
        self._http = httpx.Client(
            base_url=f"https://{HOST}:{port}", verify=farm.site.context, timeout=60
        )

    def wait(self, targets: int) -> None:
        """Wait until a number of targets, and no others, are up."""
        deadline = time.monotonic() + _START_S
        health: list[str] = []
        while time.monotonic() < deadline:
            try:
                answer = self._http.get("/api/v1/targets", params={"state": "active"})
            except httpx.TransportError:
                time.sleep(0.5)
                continue
            health = [target["health"] for target in answer.json()["data"]["activeTargets"]]
            if health == ["up"] * targets:
                return
            time.sleep(0.5)
        raise RuntimeError(f"of {targets} targets, {health.count('up')} are up")

    def count(self, expression: str) -> float:
        """Return the value of a query; 0 without a result."""
        answer = self._http.get("/api/v1/query", params={"query": expression, "nocache": "1"})
        found = answer.raise_for_status().json()["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def merge(self) -> None:
        """Merge the parts of the data into as few as possible, as happens over a longer time."""
        self._http.get("/internal/force_flush").raise_for_status()
        self._http.get("/internal/force_merge").raise_for_status()
        deadline = time.monotonic() + _START_S
        active = "vm_active_force_merges "
        while time.monotonic() < deadline:
            page = self._http.get("/metrics").text.splitlines()
            merges = [float(line.split()[-1]) for line in page if line.startswith(active)]
            if merges == [0.0]:
                return
            time.sleep(0.5)
        raise RuntimeError("VictoriaMetrics did not complete the merge of its data")


def measure(context: BenchmarkContext) -> Line:
    """Let VictoriaMetrics scrape the exporters of a farm, whose hosts are on this computer."""
    seconds = context.pick(600.0, 30.0)
    targets = _HOSTS * (len(_WORKER_EXPORTERS) + 1) + len(_MASTER_EXPORTERS) + 1
    with context.folder() as folder:
        with ExitStack() as stack:
            farm = _Farm(folder, _master(folder, stack), stack)
            farm.start()
            database = _Database(farm)
            with farm.site.running(database.command, "victoria-metrics"):
                database.wait(targets)
                context.log(f"{targets} targets are up")
                meters = {name: [CpuMeter(p) for p in pids] for name, pids in farm.pids.items()}
                time.sleep(seconds)
                percent = {n: sum(m.percent() for m in found) for n, found in meters.items()}
                series = _series(database)
                database.merge()
                samples = database.count(f'sum(count_over_time({{__name__!=""}}[{_DAY_S}s]))')
        # Its files are complete after it has stopped.
        files = [path for path in database.data.rglob("*") if path.is_file()]
        stored_bytes = sum(file.stat().st_size for file in files)
    return _line(seconds, percent, series, stored_bytes / samples)


def _master(folder: Path, stack: ExitStack) -> Master:
    """Start a master on which each node has run a job."""
    site = Site.make(folder / "site", nodes=_HOSTS, submitters=1)
    prices = folder / "prices.json"
    prices.write_text(json.dumps(_prices([agent.node for agent in site.agents])))
    # The nodes have no agents that would send requests while the exporters are scraped.
    more = {"node_offline_s": 3600.0, "price_book_file": str(prices)}
    master = Master(site, on_file(folder / "master.db"), "master", **more)
    master.prepare()
    stack.enter_context(master.serving())
    in_own_process(registration.register, master.address, site.agents)
    in_own_process(noop.run, master.address, site.agents, site.submitters, jobs=10 * _HOSTS)
    return master


def _prices(nodes: Sequence[str]) -> Mapping[str, Any]:
    region = {
        "pue": 1.5,
        "energy_per_kwh": 0.3,
        "carbon_g_per_kwh": 400,
        "carbon_method": "location_average",
        "carbon_source": "an example",
        "carbon_year": 2024,
    }
    host = {
        "region": "de",
        "per_hour": 0.9,
        "embodied_kg": 876,
        "embodied_life_years": 10,
        "embodied_source": "an example",
    }
    return {
        "entries": [
            {
                "currency": "EUR",
                "source": "an example",
                "regions": {"de": region},
                "nodes": dict.fromkeys(nodes, host),
            }
        ]
    }


def _collectors() -> list[str]:
    """Return the arguments with which the role of node_exporter selects collectors."""
    arguments = role_value("node_exporter", "{{ __node_exporter_command }}", {})
    # systemd replaces both of these.
    texts = [argument.replace("$$", "$").replace("%%", "%") for argument in arguments]
    return [text for text in texts if text.startswith("--collector.")]


def _series(database: _Database) -> Mapping[str, float]:
    """Return the mean numbers of series of a worker, by their origin."""
    results = "|".join(_RESULT_EXPORTERS)
    of_nodes = f'{{job=~"{results}|health",node!="",scenario=""}}'
    of_probes = f'{{job="health",component=~"{_OF_WORKERS}|{_NODE_EXPORTER}|agent"}}'
    queries = {
        "exporters": f'{{job=~"{_OF_WORKERS}"}}',
        "node_exporter": f'{{job="{_NODE_EXPORTER}"}}',
        "master": f"{of_nodes} or {of_probes}",
        "scenario": f'{{job=~"{results}",scenario!=""}}',
    }
    return {name: database.count(f"count({query})") / _HOSTS for name, query in queries.items()}


def _line(
    seconds: float,
    percent: Mapping[str, float],
    series: Mapping[str, float],
    bytes_per_sample: float,
) -> Line:
    def figure(label: str, unit: str, value: float, limit: Limit | None = None) -> Figure:
        return Figure(label=label, unit=unit, samples=(value,), limit=limit)

    own = {name: value for name, value in percent.items() if name != _NODE_EXPORTER}
    of_node = sum(value for name, value in series.items() if name != "scenario")
    day_mib = of_node * bytes_per_sample * _DAY_S / _MIB
    return Line(
        key="scrapes",
        title=f"A farm with {_HOSTS} workers, scraped every {_INTERVAL_S} s",
        conditions=(
            f"exporters {', '.join(_WORKER_EXPORTERS)} and node_exporter of {_HOSTS} workers, and "
            f"{', '.join(_MASTER_EXPORTERS)} of a master, all on this computer, which has no GPU, "
            "no energy counters and no containers",
            f"VictoriaMetrics scrapes them for {seconds:g} s with the settings of its role, and "
            "the exporter health checks all of them every 30 s",
            "node_exporter with the collectors of its role",
            "disk space: the size of VictoriaMetrics' data after a forced merge, divided by the "
            "number of its samples; the data of several days compress better",
        ),
        figures=(
            figure("CPU of all exporters", "% of a core", sum(own.values()), Limit("under", 2)),
            *(figure(f"CPU, {name}", "% of a core", value) for name, value in own.items()),
            figure("CPU, node_exporter", "% of a core", percent[_NODE_EXPORTER]),
            figure("series of the exporters of a worker", "", series["exporters"]),
            figure("series of its node_exporter", "", series["node_exporter"]),
            figure("series of the master's exporters for a worker", "", series["master"]),
            figure("series of a scenario on a worker, in addition", "", series["scenario"]),
            figure("disk space of a sample", "bytes", bytes_per_sample),
            figure(
                f"disk space of a worker per day, every {_INTERVAL_S} s",
                "MiB",
                day_mib / _INTERVAL_S,
            ),
            figure(
                f"disk space of a worker per day, every {_DEFAULT_INTERVAL_S} s (default)",
                "MiB",
                day_mib / _DEFAULT_INTERVAL_S,
            ),
        ),
    )
