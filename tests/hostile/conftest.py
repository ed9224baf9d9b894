"""The listeners that the hostile tests attack: those of this computer, or those of a farm.

By default, the tests start a master with TLS on each database engine, and an exporter. To attack a
deployed farm instead, set these environment variables:

- FFRTMP_HOSTILE_URL: the URL of the API, for example of the load balancer
- FFRTMP_HOSTILE_CA: the file with the CA of the farm
- FFRTMP_HOSTILE_VIEWER_TOKEN: a token that may read
- FFRTMP_HOSTILE_AGENT_TOKEN and FFRTMP_HOSTILE_NODE: the token of an agent, and its node
- FFRTMP_HOSTILE_EXPORTER_URL: the URL of an exporter (optional)
- FFRTMP_HOSTILE_CERTIFICATE and FFRTMP_HOSTILE_KEY: the certificate that the exporter requires
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import factories
import msgspec
import pytest
from databases import cluster, database, engine, migrated, settings, template_file
from ffrtmp_master.settings import Settings
from master_process import MasterProcess
from polling import wait_until
from postgresql import free_port
from raw_connection import Target

from .attacks import SILENT
from .listeners import ApiListener, ExporterListener, Listener, Tokens

__all__ = ["cluster", "database", "engine", "migrated", "settings", "template_file"]

# The tests are independent of the defaults, so that they need not wait for long deadlines.
_SHORT_DEADLINES = {
    "handshake_timeout_s": 2.0,
    "head_timeout_s": 2.0,
    "body_window_s": 2.0,
}


@pytest.fixture(scope="session", autouse=True)
def open_files() -> Iterator[None]:
    """Allow this process to open as many connections as the attacks need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * SILENT), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def deployed_url() -> str:
    """The URL of a deployed farm, or an empty string."""
    return os.environ.get("FFRTMP_HOSTILE_URL", "")


@pytest.fixture
def master(migrated: Settings, tmp_path: Path) -> Iterator[MasterProcess]:
    """A master with one node, on the engine of the test."""
    hardened = msgspec.structs.replace(
        migrated, failed_logins_per_minute_max=10**9, **_SHORT_DEADLINES
    )
    with MasterProcess(tmp_path, hardened).serving() as process:
        with process.client("worker1") as client:
            client.register(factories.registration("worker1"))
        yield process


@pytest.fixture
def api(request: pytest.FixtureRequest, deployed_url: str) -> ApiListener:
    """The API of a master."""
    if deployed_url:
        environment = os.environ
        target = Target(deployed_url, Path(environment["FFRTMP_HOSTILE_CA"]))
        viewer = environment["FFRTMP_HOSTILE_VIEWER_TOKEN"]
        agent = environment["FFRTMP_HOSTILE_AGENT_TOKEN"]
        return ApiListener(target, Tokens(viewer, agent, environment["FFRTMP_HOSTILE_NODE"]))
    process: MasterProcess = request.getfixturevalue("master")
    tokens = Tokens("token-viewer", "token-worker1", "worker1")
    return ApiListener(Target(process.url, process.ca_file), tokens)


@pytest.fixture
def exporter(request: pytest.FixtureRequest, deployed_url: str) -> Iterator[ExporterListener]:
    """An exporter that reads the API."""
    if deployed_url:
        url = os.environ.get("FFRTMP_HOSTILE_EXPORTER_URL")
        if not url:
            pytest.skip("FFRTMP_HOSTILE_EXPORTER_URL is not set")
        target = Target(url, Path(os.environ["FFRTMP_HOSTILE_CA"]))
        pair = (
            Path(os.environ["FFRTMP_HOSTILE_CERTIFICATE"]),
            Path(os.environ["FFRTMP_HOSTILE_KEY"]),
        )
        yield ExporterListener(target, pair)
        return
    master: MasterProcess = request.getfixturevalue("master")
    with started_exporter(master) as found:
        yield found


class started_exporter:  # noqa: N801 - a context manager
    """The exporter `health` of a master, which runs within the context."""

    def __init__(self, master: MasterProcess) -> None:
        self._master = master
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ExporterListener:
        master, folder = self._master, self._master.folder
        token = folder / "exporter-token"
        token.touch(mode=0o600)
        token.write_text("token-viewer")
        config = folder / "exporter.yml"
        config.write_text(json.dumps(self._settings(token)))
        program = Path(sys.executable).with_name("ffrtmp-exporter-health")
        with (folder / "exporter.log").open("ab") as log:
            self._process = subprocess.Popen([program, "--config", config], stdout=log, stderr=log)
        pair = (master.certificate_file, master.key_file)
        target = Target(f"https://127.0.0.1:{self._port}", master.ca_file)
        listener = ExporterListener(target, pair)
        wait_until(listener.is_up, (folder / "exporter.log").read_text)
        return listener

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _settings(self, token: Path) -> dict[str, object]:
        master = self._master
        return {
            "exporter": {
                "listen_address": "127.0.0.1",
                "listen_port": self._port,
                "certificate_file": str(master.certificate_file),
                "key_file": str(master.key_file),
                "client_ca_file": str(master.ca_file),
            },
            "master_url": master.url,
            "token_file": str(token),
            "ca_file": str(master.ca_file),
        }


@pytest.fixture
def listener(request: pytest.FixtureRequest) -> Listener:
    """The listener that the parameter of the test names."""
    found: Listener = request.getfixturevalue(request.param)
    return found
