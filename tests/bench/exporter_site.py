"""Exporters as processes, with the settings files that they need, and a client for scrapes."""

import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme

HOST = "127.0.0.1"
"""The address of all exporters."""

_ROOT = Path(__file__).resolve().parents[2]
_BIN = Path(sys.executable).parent
_NODE_EXPORTER = _ROOT / ".cache/node-exporter/usr/bin/prometheus-node-exporter"
_SOCKETS = {"cpu": "energy_socket", "ffmpeg": "progress_socket", "docker_stats": "socket"}
# Of the other two, the first has no server, because an energy reader needs hardware counters.
_ENGINE_SOCKET = "docker_stats.sock"
_START_S = 30
_OK = 200


def issue_certificate(folder: Path) -> None:
    """Write the certificate of a new CA, and a certificate with its key, to a folder."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    host = authority.issue_cert(HOST)
    host.private_key_pem.write_to_path(folder / "host.key")
    host.cert_chain_pems[0].write_to_path(folder / "host.pem")


class ExporterSite:
    """The settings files of exporters, and the certificate of all of them and of their clients."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        """Use a folder for settings and logs, and one with ca.pem, host.pem and host.key."""
        self._folder = folder
        self.ca_file = certificates / "ca.pem"
        self.certificate_file = certificates / "host.pem"
        self.key_file = certificates / "host.key"
        self.context = ssl.create_default_context(cafile=self.ca_file)
        self.context.load_cert_chain(self.certificate_file, self.key_file)

    @contextmanager
    def exporter(
        self, name: str, port: int, *, instance: str = "", **settings: Any
    ) -> Iterator[int]:
        """Run an exporter of the farm within the context; yield its process id.

        Args:
            name: The name of the exporter.
            port: The port that it listens on.
            instance: The name of its host, if there are several.
            **settings: Its settings, in addition to those of its listener and its socket.
        """
        document: dict[str, Any] = {
            "exporter": {
                "listen_address": HOST,
                "listen_port": port,
                "certificate_file": str(self.certificate_file),
                "key_file": str(self.key_file),
                "client_ca_file": str(self.ca_file),
            },
            **settings,
        }
        if name in _SOCKETS:
            socket = _ENGINE_SOCKET if name == "docker_stats" else f"{name}{instance}.sock"
            document[_SOCKETS[name]] = str(self._folder / socket)
        config = self._folder / f"{name}{instance}.yml"
        config.write_text(json.dumps(document))
        command = [_BIN / f"ffrtmp-exporter-{name}", "--config", config]
        with self.running(command, f"{name}{instance}") as pid:
            self.wait(f"{name}{instance}", port)
            yield pid

    @contextmanager
    def node_exporter(
        self, port: int, *, instance: str = "", arguments: Sequence[str] = ()
    ) -> Iterator[int]:
        """Run node_exporter within the context; yield its process id."""
        tls = {
            "cert_file": str(self.certificate_file),
            "key_file": str(self.key_file),
            "client_ca_file": str(self.ca_file),
            "client_auth_type": "RequireAndVerifyClientCert",
        }
        config = self._folder / f"node_exporter{instance}.yml"
        config.write_text(json.dumps({"tls_server_config": tls}))
        command = [
            _NODE_EXPORTER,
            f"--web.listen-address={HOST}:{port}",
            f"--web.config.file={config}",
            *arguments,
        ]
        with self.running(command, f"node_exporter{instance}") as pid:
            self.wait(f"node_exporter{instance}", port)
            yield pid

    @contextmanager
    def engine(self) -> Iterator[int]:
        """Run podman's service, from which docker_stats reads; yield its process id."""
        socket = self._folder / _ENGINE_SOCKET
        command = ["podman", "system", "service", "--time", "0", f"unix://{socket}"]
        with self.running(command, "engine") as pid:
            yield pid

    @contextmanager
    def running(self, command: Sequence[str | Path], name: str) -> Iterator[int]:
        """Run a program within the context; yield its process id."""
        with (self._folder / f"{name}.log").open("ab") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_START_S)

    def scrape(self, port: int) -> float:
        """Scrape an exporter over a new connection; return the duration in seconds."""
        started = time.perf_counter()
        connection = http.client.HTTPSConnection(HOST, port, context=self.context)
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        took_s = time.perf_counter() - started
        if answer.status != _OK or not body:
            raise OSError(f"port {port} answered {answer.status}")
        return took_s

    def wait(self, name: str, port: int) -> None:
        """Wait until an exporter answers with metrics."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                self.scrape(port)
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"{name} does not answer: {(self._folder / f'{name}.log').read_text()}")
