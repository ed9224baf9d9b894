"""A real master in a separate process, and an agent that reports constant measurements."""

import hashlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trustme
from ffrtmp_shared.agent_models import Claim, ClaimRequest, FailureReport, Heartbeat, ResultReport
from ffrtmp_shared.attempt_models import Artifact, Progress
from ffrtmp_shared.client import MasterClient, MasterUnreachableError
from ffrtmp_shared.credentials import ClientCertificate, client_context
from ffrtmp_shared.node_models import NodeFacts, Registration
from forked_master import Master
from polling import TIMEOUT_S, wait_until

from .documents import BUILD, failure, measurement

CLIP = b"a clip that is not encoded"
SUITE = """
name: demo
sources:
  - name: clip
    file: clip.mp4
    sha256: {sha256}
encodes:
  - name: x264
    encoder: libx264
rate_points:
  - bitrate_kbps: 800
repeats: 2
"""
PRICES = {
    "entries": [
        {
            "currency": "EUR",
            "source": "contract",
            "nodes": {"worker1": {"per_hour": 0.36, "includes_energy": True}},
        }
    ]
}
LOG = b"frame= 150 fps= 60\n"


class Farm:
    """A master, with the tokens of an operator and of the agent of worker1."""

    def __init__(self, folder: Path) -> None:
        """Create certificates, tokens and settings in `folder` without starting the master."""
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.operator, self._agent_token = "token-admin", "token-worker1"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(str(folder / "host.pem"))
        issued.private_key_pem.write_to_path(str(folder / "host.key"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self._settings = folder / "master.yml"
        (folder / "prices.json").write_text(json.dumps(PRICES))
        # The settings file is YAML, of which JSON is a subset.
        self._settings.write_text(
            json.dumps(
                {
                    "listen_address": "127.0.0.1",
                    "listen_port": self.port,
                    "certificate_file": str(folder / "host.pem"),
                    "key_file": str(folder / "host.key"),
                    "database_url": f"sqlite:///{folder}/farm.db",
                    "data_dir": str(folder),
                    "price_book_file": str(folder / "prices.json"),
                    "log_level": "warning",
                }
            )
        )
        self._process: Master | None = None

    @property
    def connection(self) -> dict[str, Any]:
        """The arguments with which a module connects to the master as the operator."""
        return {
            "master_url": self.url,
            "token": self.operator,
            "ca_file": str(self.ca_file),
            "timeout_s": 5.0,
        }

    def install(self, template: Path) -> None:
        """Use a copy of `template`, a database with the credentials of `factories`."""
        shutil.copy(template, self.folder / "farm.db")

    def require_certificates(self) -> None:
        """Let the master require client certificates of its CA after the next start."""
        document = json.loads(self._settings.read_text())
        self._settings.write_text(json.dumps(document | {"client_ca_file": str(self.ca_file)}))

    def start(self) -> None:
        """Start the master and wait until it is ready."""
        arguments = ["--config", self._settings, "serve"]
        self._process = Master(arguments, self.folder / "master.log")
        own = ClientCertificate(self.folder / "host.pem", self.folder / "host.key")
        with MasterClient(self.url, self.operator, self.ca_file, own) as client:
            wait_until(lambda: self._is_ready(client), (self.folder / "master.log").read_text)

    def _is_ready(self, client: MasterClient) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "master.log").read_text()
        try:
            return client.is_ready()
        except MasterUnreachableError:
            return False

    def stop(self) -> None:
        """Stop the master."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(TIMEOUT_S)
            self._process = None

    @property
    def is_running(self) -> bool:
        """Return whether the master is running."""
        return self._process is not None

    def clear(self) -> None:
        """Cancel all queued jobs and remove worker1, so that they do not affect the next test."""
        headers = {"Authorization": f"Bearer {self.operator}"}
        context = client_context(self.ca_file)
        with httpx.Client(verify=context, headers=headers, timeout=TIMEOUT_S) as client:
            queued = client.get(f"{self.url}/v1/jobs", params={"state": "queued", "limit": 1000})
            for job in queued.json()["items"]:
                client.post(f"{self.url}/v1/jobs/{job['id']}/cancel").raise_for_status()
            answer = client.delete(f"{self.url}/v1/nodes/worker1")
        assert answer.status_code in (204, 404), answer.text

    def submit(self, document: dict[str, Any]) -> str:
        """Queue a job that belongs to no run, and return its id."""
        headers = {"Authorization": f"Bearer {self.operator}"}
        context = client_context(self.ca_file)
        with httpx.Client(verify=context, headers=headers, timeout=TIMEOUT_S) as client:
            answer = client.post(
                f"{self.url}/v1/jobs",
                content=msgspec.json.encode(document),
                headers={"Content-Type": "application/json"},
            )
        answer.raise_for_status()
        return str(answer.json()["id"])

    def drain(self, node: str) -> None:
        """Drain a node, as an operator does."""
        headers = {"Authorization": f"Bearer {self.operator}"}
        context = client_context(self.ca_file)
        with httpx.Client(verify=context, headers=headers, timeout=TIMEOUT_S) as client:
            answer = client.patch(f"{self.url}/v1/nodes/{node}", json={"state": "draining"})
        answer.raise_for_status()

    def agent(self) -> "Agent":
        """Register worker1 and return its agent."""
        return Agent(MasterClient(self.url, self._agent_token, self.ca_file), self.folder)


class Agent:
    """An agent of worker1 that reports constant measurements."""

    def __init__(self, client: MasterClient, folder: Path) -> None:
        """Register the node; the agent stores its files in `folder`."""
        self.client = client
        self._log = folder / "ffmpeg.log"
        client.register(
            Registration(
                name="worker1",
                facts=NodeFacts(
                    hostname="worker1",
                    os="Debian GNU/Linux 12",
                    kernel="6.1.0",
                    architecture="x86_64",
                    cpu_model="A CPU",
                    cpu_count=2,
                    memory_bytes=2**31,
                ),
                encoders=("libx264",),
                ffmpeg=BUILD,
                quality_ffmpeg=BUILD,
                agent_version="0.1.0",
                address="127.0.0.1",
                exporters={"cpu": 9510, "ffmpeg": 9506},
            )
        )

    def claim(self, wait_s: float = 5) -> Claim:
        """Claim the next job, for which the master waits, and report its first progress."""
        claim = self.try_claim(wait_s)
        assert claim is not None
        return claim

    def try_claim(self, wait_s: float = 0.5) -> Claim | None:
        """Claim the next job and report its first progress, or return None if there is no job."""
        claim = self.client.claim(ClaimRequest(node="worker1", slot=1, wait_s=wait_s))
        if claim is None:
            return None
        self.client.heartbeat(
            claim.job.id,
            Heartbeat(attempt=claim.attempt, progress=Progress(stage="encode", ratio=0.5, speed=2)),
        )
        return claim

    def succeed(self, claim: Claim, vmaf: float | None = 90.0, log: bytes = LOG) -> None:
        """Report a result with a log."""
        self.client.report_result(
            claim.job.id,
            ResultReport(
                attempt=claim.attempt,
                measurement=measurement(vmaf=vmaf),
                artifacts=(self._upload(claim, log),),
            ),
        )

    def fail(self, claim: Claim) -> None:
        """Report a failure after which the job is not retried."""
        self.client.report_failure(
            claim.job.id, FailureReport(attempt=claim.attempt, failure=failure("Invalid option\n"))
        )

    def _upload(self, claim: Claim, log: bytes) -> Artifact:
        digest = hashlib.sha256(log).hexdigest()
        self._log.write_bytes(log)
        self.client.upload_artifact(claim.job.id, claim.attempt, "ffmpeg.log", self._log)
        return Artifact(name="ffmpeg.log", sha256=digest, size_bytes=len(log))
