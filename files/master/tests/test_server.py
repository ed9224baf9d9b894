"""Tests of the master process: TLS, long polls, a graceful stop, and SIGKILL under load."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import promtool
import pytest
import trustme
from ffrtmp_master.settings import Settings
from ffrtmp_shared.agent_models import ClaimRequest, ResultReport
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.credentials import ClientCertificate, client_context
from ffrtmp_shared.models import RunRequest
from ffrtmp_shared.node_models import Registration
from forked_master import Master
from polling import TIMEOUT_S, wait_until
from revocation_list import write_list

MASTER = Path(sys.executable).parent / "ffrtmp-master"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A master process that is started and stopped as systemd does it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.authority = authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.certificate_file = settings.certificate_file
        self.key_file = settings.key_file
        authority.cert_pem.write_to_path(self.ca_file)
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(settings.key_file)
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(settings.certificate_file, append=True)
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        self.config = folder / "master.yml"
        document = msgspec.to_builtins(settings, enc_hook=str) | {"listen_port": port}
        self.config.write_text(json.dumps(document))
        self.client_certificate: ClientCertificate | None = None
        self.process: Master | None = None

    def start(self) -> None:
        self.process = Master(["--config", self.config, "serve"], self.folder / "master.log")
        with self.client("viewer") as client:
            wait_until(lambda: self._is_ready(client), "the master is ready")

    def _is_ready(self, client: MasterClient) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the master exited"
        try:
            return client.is_ready()
        except MasterUnreachableError:
            return False

    def client(self, holder: str) -> MasterClient:
        return MasterClient(self.url, f"token-{holder}", self.ca_file, self.client_certificate)

    def end(self, signal_number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(signal_number)
        code = self.process.wait(TIMEOUT_S)
        self.process = None
        return code

    def kill(self) -> None:
        """Kill the process if it is running."""
        if self.process is not None:
            self.end(signal.SIGKILL)


@pytest.fixture
def master(tmp_path: Path, migrated: Settings) -> Iterator[Process]:
    process = Process(tmp_path, migrated)
    try:
        process.start()
        yield process
    finally:
        process.kill()


@pytest.fixture
def prepared(master: Process, tmp_path: Path) -> Process:
    """A running master to which the clip has been uploaded."""
    clip = tmp_path / "clip"
    clip.write_bytes(b"clip" * 1000)
    with master.client("submitter") as client:
        client.upload_source(clip_sha256(clip), clip)
    return master


def clip_sha256(path: Path) -> str:
    return subprocess.run(
        [shutil.which("sha256sum") or "sha256sum", path], check=True, capture_output=True, text=True
    ).stdout.split()[0]


def registration(make: Any, name: str) -> Registration:
    return msgspec.json.decode(msgspec.json.encode(make(name)), type=Registration)


@pytest.fixture
def parts(prepared: Process, tmp_path: Path, make_suite: Any, make_registration: Any) -> Any:
    """A function that returns a suite with some rate points, and one that registers nodes."""
    sha256 = clip_sha256(tmp_path / "clip")

    def text(rates: int) -> str:
        return make_suite(rates=rates, placement="any", sha256=sha256)

    def register(*names: str) -> None:
        for name in names:
            with prepared.client(name) as client:
                assert client.register(registration(make_registration, name)).name == name

    return text, register


def test_a_job_from_submission_to_result_over_tls(
    prepared: Process, parts: Any, tmp_path: Path, make_measurement: Any
) -> None:
    text, register = parts
    register("worker1")
    log = tmp_path / "ffmpeg.log"
    log.write_bytes(b"log" * 100)
    with prepared.client("submitter") as operator, prepared.client("worker1") as agent:
        request = RunRequest(suite=text(1))
        assert operator.plan_run(request).jobs == 1
        run = operator.create_run(request, key="once")
        assert operator.create_run(request, key="once").id == run.id
        claim = agent.claim(ClaimRequest(node="worker1", slot=1, wait_s=5))
        assert claim is not None
        source = b"".join(agent.download_source(claim.job.scenario.source.sha256))
        assert source == (tmp_path / "clip").read_bytes()
        agent.upload_artifact(claim.job.id, claim.attempt, "ffmpeg.log", log)
        artifact = Artifact(name="ffmpeg.log", sha256=clip_sha256(log), size_bytes=300)
        report = ResultReport(
            attempt=claim.attempt, measurement=make_measurement(), artifacts=(artifact,)
        )
        assert agent.report_result(claim.job.id, report).state == "succeeded"
        assert [result.artifacts for result in operator.results(run.id)] == [(artifact,)]
        assert [job.state for job in operator.jobs(run.id)] == ["succeeded"]
        assert operator.run_page().items[0].id == run.id


@pytest.mark.slow
def test_a_parked_claim_is_woken_immediately(prepared: Process, parts: Any) -> None:
    text, register = parts
    register("worker1")

    def wait() -> tuple[Any, float]:
        with prepared.client("worker1") as agent:
            return agent.claim(ClaimRequest(node="worker1", slot=1, wait_s=20)), time.monotonic()

    with ThreadPoolExecutor(1) as pool, prepared.client("submitter") as operator:
        waiting = pool.submit(wait)
        time.sleep(0.5)
        start = time.monotonic()
        run = operator.create_run(RunRequest(suite=text(1)))
        claim, woken = waiting.result(TIMEOUT_S)
        assert claim.job.run_id == run.id
        # This is well below the 5 s after which a parked claim polls the queue.
        assert woken - start < 1.5


@pytest.mark.slow
def test_a_disconnected_client_gets_no_job(prepared: Process, parts: Any) -> None:
    text, register = parts
    register("worker1")
    with (
        httpx.Client(
            verify=client_context(prepared.ca_file), base_url=prepared.url
        ) as disconnecting,
        pytest.raises(httpx.ReadTimeout),
    ):
        disconnecting.post(
            "/v1/claims",
            json={"node": "worker1", "slot": 1, "wait_s": 30},
            headers={"Authorization": "Bearer token-worker1"},
            timeout=0.3,
        )
    with prepared.client("submitter") as operator:
        time.sleep(0.3)
        run = operator.create_run(RunRequest(suite=text(1)))
        time.sleep(0.3)
        assert operator.run(run.id).counts["queued"] == 1


@pytest.mark.slow
def test_parked_claims_do_not_delay_a_stop(prepared: Process, parts: Any) -> None:
    _, register = parts
    register("worker1")

    def wait() -> None:
        with prepared.client("worker1") as agent:
            agent.claim(ClaimRequest(node="worker1", slot=1, wait_s=30))

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        time.sleep(0.5)
        start = time.monotonic()
        code = prepared.end(signal.SIGTERM)
        assert time.monotonic() - start < 5
        assert code in (0, -signal.SIGTERM)
        with pytest.raises(MasterRefusedError, match="stopping") as refused:
            waiting.result(TIMEOUT_S)
        assert refused.value.is_temporary


def test_another_ca_is_refused_with_a_helpful_message(master: Process, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with (
        MasterClient(master.url, "token-viewer", other) as client,
        pytest.raises(MasterUnreachableError, match="not from the farm's CA; see the setting"),
    ):
        client.nodes()


@pytest.mark.slow
def test_kill_9_under_load_loses_nothing_that_was_acknowledged(
    prepared: Process, parts: Any, make_measurement: Any
) -> None:
    text, register = parts
    nodes = ("worker1", "worker2", "worker3")
    register(*nodes)
    with prepared.client("submitter") as operator:
        run = operator.create_run(RunRequest(suite=text(900)))
    acknowledged: list[UUID] = []
    enough = threading.Event()

    def work(node: str) -> None:
        with prepared.client(node) as agent:
            try:
                while (claim := agent.claim(ClaimRequest(node=node, slot=1))) is not None:
                    report = ResultReport(attempt=claim.attempt, measurement=make_measurement())
                    agent.report_result(claim.job.id, report)
                    acknowledged.append(claim.job.id)
                    if len(acknowledged) >= 60:
                        enough.set()
            except MasterUnreachableError:
                return

    threads = [threading.Thread(target=work, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    assert enough.wait(TIMEOUT_S)
    assert prepared.end(signal.SIGKILL) == -signal.SIGKILL
    for thread in threads:
        thread.join()
    prepared.start()
    with prepared.client("submitter") as operator:
        stored = [result.job_id for result in operator.results(run.id)]
        states = {job.id: job.state for job in operator.jobs(run.id)}
    assert len(acknowledged) < 900, "the kill came after the last job"
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
    assert {states[job_id] for job_id in acknowledged} == {"succeeded"}
    assert len(states) == 900


@pytest.mark.slow
def test_serve_refuses_an_old_schema(tmp_path: Path, settings: Settings) -> None:
    process = Process(tmp_path, settings)
    ended = subprocess.run(
        [MASTER, "--config", process.config, "serve"],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env=os.environ,
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "run ffrtmp-master migrate first" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wanted"),
    [("results", "ffrtmp_exporter_source_up 1.0"), ("health", "ffrtmp_master_ready 1.0")],
)
def test_an_exporter_serves_clients_with_a_certificate(
    master: Process, name: str, wanted: str
) -> None:
    port = free_port()
    token = master.folder / "token"
    token.write_text("token-viewer")
    config = master.folder / "exporter.yml"
    document = {
        "exporter": {
            "listen_address": "127.0.0.1",
            "listen_port": port,
            "certificate_file": str(master.certificate_file),
            "key_file": str(master.key_file),
            "client_ca_file": str(master.ca_file),
        },
        "master_url": master.url,
        "token_file": str(token),
        "ca_file": str(master.ca_file),
        "refresh_s": 0.2,
    }
    config.write_text(json.dumps(document))
    exporter = subprocess.Popen(
        [MASTER.with_name(f"ffrtmp-exporter-{name}"), "--config", config],
        stderr=subprocess.DEVNULL,
    )
    try:
        untrusted = client_context(master.ca_file)
        trusted = client_context(master.ca_file)
        trusted.load_cert_chain(master.certificate_file, master.key_file)
        url = f"https://127.0.0.1:{port}/metrics"
        page = scrape_until(wanted, url, trusted)
        assert "ffrtmp_exporter_build_info{" in page
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=untrusted)
        exporter.terminate()
        assert exporter.wait(TIMEOUT_S) == 0
    finally:
        exporter.kill()
        exporter.wait()


def test_metrics_stay_available_while_clients_overload_the_api(
    tmp_path: Path, migrated: Settings
) -> None:
    process = Process(tmp_path, migrated)
    port = free_port()
    document = json.loads(process.config.read_text())
    document["metrics"] = {
        "listen_address": "127.0.0.1",
        "listen_port": port,
        "certificate_file": str(process.certificate_file),
        "key_file": str(process.key_file),
        "client_ca_file": str(process.ca_file),
    }
    write_list(process.authority, tmp_path / "crl.pem")
    document["client_ca_file"] = str(process.ca_file)
    document["client_crl_file"] = str(tmp_path / "crl.pem")
    process.client_certificate = ClientCertificate(process.certificate_file, process.key_file)
    process.config.write_text(json.dumps(document))
    api = ("127.0.0.1", int(process.url.rpartition(":")[2]))
    url = f"https://127.0.0.1:{port}/metrics"
    scraper = client_context(process.ca_file)
    scraper.load_cert_chain(process.certificate_file, process.key_file)
    with ExitStack() as stack:
        process.start()
        stack.callback(process.kill)
        for address in (api, ("127.0.0.1", port)):
            for _ in range(100):
                stack.enter_context(socket.create_connection(address))
        page = httpx.get(url, verify=scraper).text
        assert "ffrtmp_master_build_info{" in page
        assert 'ffrtmp_master_jobs_queued{priority="medium",reason="ready"} 0.0' in page
        not_after = "ffrtmp_certificate_not_after_timestamp_seconds"
        for listener in ("api", "metrics"):
            for name in ("server", "ca"):
                assert f'{not_after}{{certificate="{name}",listener="{listener}"}}' in page
        # Only the API has a revocation list.
        expiry = "ffrtmp_revocation_list_next_update_timestamp_seconds"
        assert f'{expiry}{{listener="api"}}' in page
        assert f'{expiry}{{listener="metrics"}}' not in page
        assert 'ffrtmp_scrape_collector_success{collector="snapshot"} 1.0' in page
        assert promtool.complaints(page) == ""
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=client_context(process.ca_file))
        assert process.end(signal.SIGTERM) == -signal.SIGTERM


def test_an_answer_is_sent_in_one_tls_record(master: Process) -> None:
    context = client_context(master.ca_file)
    host, port = "127.0.0.1", int(master.url.rpartition(":")[2])
    raw_request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with (
        socket.create_connection((host, port)) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        for _ in range(3):
            connection.sendall(raw_request)
            # Each call reads one TLS record.
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert f"content-length: {len(body)}".encode() in head.lower()
            assert body


def scrape_until(wanted: str, url: str, context: ssl.SSLContext) -> str:
    """Return the metrics when they contain `wanted`."""

    def scrape() -> str | None:
        try:
            page = httpx.get(url, verify=context).text
        except httpx.ConnectError:
            return None
        return page if wanted in page else None

    return wait_until(scrape, f"the exporter serves {wanted}")
