"""A real master in a separate process, with a certificate and credentials for its clients."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from ffrtmp_shared.client import MasterClient, MasterUnreachableError
from ffrtmp_shared.credentials import new_token, token_sha256
from ffrtmp_shared.models import Role
from postgresql import Database, free_port

from bench.api_requests import SOURCE, SOURCE_SHA256, Agent
from bench.http_client import Address

PROGRAM = Path(sys.executable).parent / "ffrtmp-master"

_START_S = 60
_STOP_S = 30
_SYNC_S = 600


def on_file(file: Path) -> Database:
    """Return a SQLite database, which the master will create in WAL mode with synchronous=FULL."""
    return Database(f"sqlite:///{file}")


@dataclass(frozen=True)
class Site:
    """The certificates of the master, and the tokens of its clients, one for each node."""

    folder: Path
    agents: tuple[Agent, ...]
    submitters: tuple[str, ...]
    viewer: str
    credentials: Path = field(repr=False)

    @property
    def ca_file(self) -> Path:
        """The file with the CA that clients trust."""
        return self.folder / "ca.pem"

    @classmethod
    def make(cls, folder: Path, *, nodes: int, submitters: int) -> "Site":
        """Create a certificate for the loopback address, and tokens."""
        folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "host.key")
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(folder / "host.pem", append=True)
        agents = tuple(Agent(f"node{number:05}", new_token()) for number in range(nodes))
        senders = tuple(new_token() for _ in range(submitters))
        viewer = new_token()
        holders = [
            *((agent.node, Role.AGENT, agent.token, agent.node) for agent in agents),
            *(
                (f"submitter{number}", Role.SUBMITTER, token, None)
                for number, token in enumerate(senders)
            ),
            ("viewer", Role.VIEWER, viewer, None),
        ]
        listed = [
            {"name": name, "role": role, "sha256": token_sha256(token), "node": node}
            for name, role, token, node in holders
        ]
        path = folder / "credentials.yml"
        path.write_text(json.dumps({"credentials": listed}, indent=0))
        return cls(folder, agents, senders, viewer, path)


class Master:
    """A master process that can be started and stopped."""

    def __init__(self, site: Site, database: Database, name: str, **settings: Any) -> None:
        """Write the settings file, in which `settings` override the defaults."""
        self.site = site
        self.name = name
        self.address = Address(free_port(), site.ca_file)
        self._config = site.folder / f"{name}.yml"
        self._log = site.folder / f"{name}.log"
        data = site.folder / f"{name}-data"
        data.mkdir()
        document = {
            "listen_address": self.address.host,
            "listen_port": self.address.port,
            "certificate_file": str(site.folder / "host.pem"),
            "key_file": str(site.folder / "host.key"),
            "database_url": database.url,
            "data_dir": str(data),
            "log_level": "warning",
            # All agents of the load have the same address, and connect before they are needed.
            "connections_max": 50_000,
            "connections_per_address_max": 50_000,
            "head_timeout_s": 600,
            "idle_timeout_s": 600,
            **settings,
        }
        if database.password_file is not None:
            document["database_password_file"] = str(database.password_file)
        self._config.write_text(json.dumps(document))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running master."""
        assert self._process is not None
        return self._process.pid

    def prepare(self) -> None:
        """Create the tables and the credentials, as the Ansible role of the master does."""
        for arguments in (["migrate"], ["sync-credentials", str(self.site.credentials)]):
            done = subprocess.run(
                [PROGRAM, "--config", self._config, *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=_SYNC_S,
            )
            if done.returncode:
                raise RuntimeError(f"ffrtmp-master {arguments[0]} failed: {done.stderr}")

    def start(self) -> None:
        """Start the master and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "--config", self._config, "serve"], stdout=log, stderr=log
            )
        url = f"https://{self.address.host}:{self.address.port}"
        deadline = time.monotonic() + _START_S
        with MasterClient(url, self.site.viewer, self.address.ca_file) as client:
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    break
                try:
                    if client.is_ready():
                        self._upload_source()
                        return
                except MasterUnreachableError:
                    time.sleep(0.05)
        raise RuntimeError(f"the master did not become ready: {self._log.read_text()[-2000:]}")

    def _upload_source(self) -> None:
        path = self.site.folder / "source"
        path.write_bytes(SOURCE)
        url = f"https://{self.address.host}:{self.address.port}"
        with MasterClient(url, self.site.submitters[0], self.address.ca_file) as client:
            client.upload_source(SOURCE_SHA256, path)

    def stop(self) -> None:
        """Stop the master and wait until it has ended; kill it after a timeout."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @contextmanager
    def serving(self) -> Iterator["Master"]:
        """Run the master within the context."""
        try:
            self.start()
            yield self
        finally:
            self.stop()


@contextmanager
def serving_all(masters: Sequence[Master]) -> Iterator[None]:
    """Run several masters within the context."""
    try:
        for master in masters:
            master.start()
        yield
    finally:
        for master in masters:
            master.stop()
