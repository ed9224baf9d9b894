"""A master process with TLS, which is started as systemd starts it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import trustme
from databases import as_document
from ffrtmp_master.settings import Settings
from ffrtmp_shared.client import MasterClient, MasterUnreachableError
from ffrtmp_shared.credentials import client_context
from forked_master import Master
from polling import TIMEOUT_S, wait_until
from postgresql import free_port

PROGRAM = Path(sys.executable).parent / "ffrtmp-master"


class MasterProcess:
    """A master that can be stopped and restarted with the same port and certificate."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        name: str = "master",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a master.

        Its files are stored in `folder`, and its environment is extended by `environment`.
        """
        self.folder = folder
        self._environment = {**os.environ, **environment} if environment else None
        authority = trustme.CA()
        self.ca_file = folder / f"{name}-ca.pem"
        self.certificate_file = folder / f"{name}.pem"
        self.key_file = folder / f"{name}.key"
        authority.cert_pem.write_to_path(self.ca_file)
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(self.key_file)
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(self.certificate_file, append=True)
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        self.config = folder / f"{name}.yml"
        self.log = folder / f"{name}.log"
        document = as_document(
            settings,
            listen_port=port,
            certificate_file=str(self.certificate_file),
            key_file=str(self.key_file),
        )
        self.config.write_text(json.dumps(document))
        self.process: Master | subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the master and wait until it is ready."""
        arguments = ["--config", self.config, "serve"]
        if self._environment is None:
            self.process = Master(arguments, self.log)
        else:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [PROGRAM, *arguments], stdout=log, stderr=log, env=self._environment
                )
        with self.client("viewer") as client:
            wait_until(lambda: self._is_ready(client), self.log.read_text, interval_s=0.02)

    def _is_ready(self, client: MasterClient) -> bool:
        assert self.is_running, self.log.read_text()
        try:
            return client.is_ready()
        except MasterUnreachableError:
            return False

    @property
    def is_running(self) -> bool:
        """Return whether the process is running."""
        return self.process is not None and self.process.poll() is None

    def end(self, signal_number: signal.Signals) -> int:
        """Send a signal, wait until the process has ended, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal_number)
        code = self.process.wait(TIMEOUT_S)
        self.process = None
        return code

    def client(self, holder: str) -> MasterClient:
        """Return a client with the token of a holder in `factories`."""
        return MasterClient(self.url, f"token-{holder}", self.ca_file)

    def http(self, holder: str, timeout_s: float = TIMEOUT_S) -> httpx.Client:
        """Return an HTTP client for requests that the typed client does not support."""
        return httpx.Client(
            base_url=self.url,
            verify=client_context(self.ca_file),
            headers={"Authorization": f"Bearer token-{holder}"},
            timeout=timeout_s,
        )

    @contextmanager
    def serving(self) -> Iterator["MasterProcess"]:
        """Run the master within the context."""
        try:
            self.start()
            yield self
        finally:
            if self.is_running:
                self.end(signal.SIGKILL)
