"""VictoriaMetrics, vmalert and Alertmanager as processes, and HTTP servers around them."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from polling import wait_until
from postgresql import free_port
from role_templates import ROOT

RELEASES = ("", "-trixie")
"""Suffixes of the folders in .cache: the release of this computer, and Debian 13."""

# Parameters of tests in which the releases are not expected to differ, and which take many seconds.
FIRST_RELEASE_UNLESS_DEEP = (RELEASES[0], pytest.param(RELEASES[1], marks=pytest.mark.deep))

# The package is not installed, but the program reads its templates below /usr/share.
_MOUNT = 'mount --bind "$0" /usr/share && exec "$@"'


def victoria_metrics_programs(release: str) -> Path:
    """Return the folder with the programs of VictoriaMetrics of a release."""
    return ROOT / f".cache/victoria-metrics{release}/usr/bin"


def alertmanager_programs(release: str) -> Path:
    """Return the folder with the programs of Alertmanager of a release."""
    return ROOT / f".cache/alertmanager{release}/usr/bin"


@contextmanager
def run_victoria_metrics(
    release: str, folder: Path, scrape_config: str = ""
) -> Iterator[httpx.Client]:
    """Run VictoriaMetrics; yield a client for it."""
    (folder / "scrape.yml").write_text(scrape_config)
    command = [
        victoria_metrics_programs(release) / "victoria-metrics",
        f"-storageDataPath={folder / 'data'}",
        f"-promscrape.config={folder / 'scrape.yml'}",
        # Its own metrics, with the job of the farm's scrape configuration.
        "-selfScrapeInterval=1s",
        "-selfScrapeJob=victoria_metrics",
        # By default, samples can be queried after 30 s.
        "-search.latencyOffset=0s",
        "-search.disableCache",
    ]
    with _run(command, "-httpListenAddr=", "/health", folder / "victoria-metrics.log") as client:
        yield client


@contextmanager
def run_vmalert(
    release: str, folder: Path, rules: str, *, datasource: httpx.Client, notifier: httpx.Client
) -> Iterator[httpx.Client]:
    """Run vmalert, which evaluates the rules every second; yield a client for it."""
    (folder / "rules.yml").write_text(rules)
    program = victoria_metrics_programs(release) / "vmalert"
    command = [
        program,
        f"-rule={folder / 'rules.yml'}",
        "-evaluationInterval=1s",
        f"-datasource.url={datasource.base_url}",
        f"-remoteWrite.url={datasource.base_url}",
        f"-notifier.url={notifier.base_url}",
    ]
    options = subprocess.run([program, "-help"], capture_output=True, text=True, check=False)
    if "-rule.evalDelay" in options.stdout + options.stderr:
        # By default, later releases evaluate rules for a time 30 s ago.
        command.append("-rule.evalDelay=0s")
    with _run(command, "-httpListenAddr=", "/health", folder / "vmalert.log") as client:
        yield client


@contextmanager
def run_alertmanager(release: str, folder: Path, config: str) -> Iterator[httpx.Client]:
    """Run Alertmanager; yield a client for it."""
    (folder / "alertmanager.yml").write_text(config)
    programs = alertmanager_programs(release)
    command = [
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT),
        programs.parent / "share",
        programs / "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        "--cluster.listen-address=",
    ]
    log = folder / "alertmanager.log"
    with _run(command, "--web.listen-address=", "/-/ready", log) as client:
        yield client


@contextmanager
def run_node_exporter(folder: Path) -> Iterator[httpx.Client]:
    """Run node_exporter with its default collectors; yield a client for it."""
    command = [ROOT / ".cache/node-exporter/usr/bin/prometheus-node-exporter"]
    log = folder / "node-exporter.log"
    with _run(command, "--web.listen-address=", "/metrics", log) as client:
        yield client


@contextmanager
def _run(command: list[Any], listen_option: str, ready: str, log: Path) -> Iterator[httpx.Client]:
    address = f"127.0.0.1:{free_port()}"
    with (
        log.open("wb") as opened,
        subprocess.Popen(
            [*command, f"{listen_option}{address}"], stdout=opened, stderr=opened
        ) as process,
        httpx.Client(base_url=f"http://{address}") as client,
    ):

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return client.get(ready).status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(is_ready, f"{command} starts")
            yield client
        finally:
            process.kill()


class HttpServer:
    """A server on the loopback interface that answers each request with a function.

    Attributes:
        url: The URL of the server, without a path.
        requests: The path, headers and body of each request so far.
    """

    def __init__(self, answer: Callable[[str], bytes | None]) -> None:
        """Start the server; `answer` returns the body for a path, or None if there is none."""
        requests: list[tuple[str, dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def _respond(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(size)
                requests.append((self.path, dict(self.headers), body))
                found = answer(self.path)
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(found or b"")))
                self.end_headers()
                self.wfile.write(found or b"")

            do_GET = do_POST = _respond  # noqa: N815

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Log nothing."""

        self.requests = requests
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> "HttpServer":
        """Return the server."""
        return self

    def __exit__(self, *details: object) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def messages(self, path: str) -> list[dict[str, Any]]:
        """Return the JSON documents that were posted to a path."""
        return [json.loads(body) for where, _, body in list(self.requests) if where == path]

    def alerts(self, path: str) -> list[dict[str, Any]]:
        """Return the alerts in the messages that Alertmanager posted to a path."""
        return [alert for message in self.messages(path) for alert in message["alerts"]]
