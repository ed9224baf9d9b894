"""Cost of a worker's exporters: their memory and the latency of a scrape."""

import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme
from postgresql import free_port

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line, quantile
from bench.process import memory_kib

_ROOT = Path(__file__).resolve().parents[3]
_BIN = Path(sys.executable).parent
_NODE_EXPORTER = _ROOT / ".cache/node-exporter/usr/bin/prometheus-node-exporter"
_FARM_EXPORTERS = ("cpu", "ffmpeg", "gpu", "docker_stats")
_SOCKETS = {"cpu": "energy_socket", "ffmpeg": "progress_socket", "docker_stats": "socket"}
_START_S = 30
_KIB_PER_MIB = 1024
_OK = 200


def measure(context: BenchmarkContext) -> Line:
    """Scrape each exporter and node_exporter alternately."""
    scrapes = context.pick(500, 20)
    durations_ms: dict[str, list[float]] = {}
    rss_mib: dict[str, float] = {}
    with context.folder() as folder, ExitStack() as stack:
        site = _Site(folder)
        stack.enter_context(_running(site.engine(), folder / "engine.log"))
        ports = {}
        pids = {}
        for name in _FARM_EXPORTERS:
            ports[name] = free_port()
            command = site.exporter(name, ports[name])
            pids[name] = stack.enter_context(_running(command, folder / f"{name}.log"))
        ports["node_exporter"] = free_port()
        command = site.node_exporter(ports["node_exporter"])
        pids["node_exporter"] = stack.enter_context(_running(command, folder / "node.log"))
        for name, port in ports.items():
            site.wait(name, port)
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


class _Site:
    """The certificates and settings files of all exporters."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        host = authority.issue_cert("127.0.0.1")
        host.private_key_pem.write_to_path(folder / "host.key")
        host.cert_chain_pems[0].write_to_path(folder / "host.pem")
        self._context = ssl.create_default_context(cafile=folder / "ca.pem")
        host.configure_cert(self._context)

    def exporter(self, name: str, port: int) -> Sequence[str | Path]:
        """Return the command of an exporter of the farm."""
        settings: dict[str, object] = {
            "exporter": {
                "listen_address": "127.0.0.1",
                "listen_port": port,
                "certificate_file": str(self._folder / "host.pem"),
                "key_file": str(self._folder / "host.key"),
                "client_ca_file": str(self._folder / "ca.pem"),
            }
        }
        if name in _SOCKETS:
            # Only the socket of docker_stats has a server, because an energy reader would need
            # hardware counters.
            settings[_SOCKETS[name]] = str(self._folder / f"{name}.sock")
        config = self._folder / f"{name}.yml"
        config.write_text(json.dumps(settings))
        return [_BIN / f"ffrtmp-exporter-{name}", "--config", config]

    def engine(self) -> Sequence[str | Path]:
        """Return the command of podman's service, from which docker_stats reads."""
        socket = self._folder / "docker_stats.sock"
        return ["podman", "system", "service", "--time", "0", f"unix://{socket}"]

    def node_exporter(self, port: int) -> Sequence[str | Path]:
        """Return the command of node_exporter."""
        config = self._folder / "node.yml"
        config.write_text(
            json.dumps(
                {
                    "tls_server_config": {
                        "cert_file": "host.pem",
                        "key_file": "host.key",
                        "client_ca_file": "ca.pem",
                        "client_auth_type": "RequireAndVerifyClientCert",
                    }
                }
            )
        )
        return [
            _NODE_EXPORTER,
            f"--web.listen-address=127.0.0.1:{port}",
            f"--web.config.file={config}",
        ]

    def scrape(self, port: int) -> float:
        """Scrape an exporter as a monitoring server does; return the duration in seconds."""
        started = time.perf_counter()
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=self._context)
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        took_s = time.perf_counter() - started
        if answer.status != _OK or not body:
            raise RuntimeError(f"port {port} answered {answer.status}")
        return took_s

    def wait(self, name: str, port: int) -> None:
        """Wait until an exporter answers."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                self.scrape(port)
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"{name} does not answer: {(self._folder / f'{name}.log').read_text()}")


@contextmanager
def _running(command: Sequence[str | Path], log: Path) -> Iterator[int]:
    """Run a program within the context; yield its process id."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_START_S)
