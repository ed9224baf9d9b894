"""Interrupted deployments of changed settings, which the next plain run corrects.

Each case changes settings of all services, interrupts the play at a task, and runs it again.
"""

import json
import re
import shutil
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deployed_farm import ROOT, Machine, interruption, run_playbook
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

SCENARIO = ROOT / "molecule/interrupted"
SECRETS = ROOT / ".secrets/interrupted"
SOURCE = ROOT / ".state/interrupted-source"

CONFIG = "/etc/ffmpeg-rtmp"
SYSTEMD = "/etc/systemd/system"
PKI = [f"{CONFIG}/pki/{name}" for name in ("host.pem", "host.key")]
EXPORTER_UNIT = f"{SYSTEMD}/ffrtmp-exporter@.service"
PROGRAMS = "/opt/ffmpeg-rtmp/current"
READ_AT_START = {
    "ffrtmp-master.service": [f"{CONFIG}/master.yml", f"{SYSTEMD}/ffrtmp-master.service", PROGRAMS],
    "ffrtmp-agent@1.service": [f"{CONFIG}/agent.yml", f"{CONFIG}/agent.token", PROGRAMS],
    "ffrtmp-energy-reader.service": [f"{CONFIG}/energy-reader.yml", PROGRAMS],
    "ffrtmp-exporter@results.service": [f"{CONFIG}/exporter.token", EXPORTER_UNIT, PROGRAMS],
    "ffrtmp-exporter@cpu.service": [EXPORTER_UNIT, PROGRAMS],
    "ffrtmp-series-importer.service": [f"{CONFIG}/series-importer.yml", PROGRAMS, *PKI],
    "ffrtmp-vmalert.service": [f"{SYSTEMD}/ffrtmp-vmalert.service", *PKI],
    "ffrtmp-rtmp-server.service": [f"{CONFIG}/rtmp-server.conf"],
    "postgresql@17-main.service": ["/etc/postgresql/17/main/conf.d/ffmpeg-rtmp.conf"],
}
"""Files that each unit reads only when it starts."""

TLS_PORTS = {"master": 8080, "results": 9502, "cpu": 9510, "rtmp": 8936, "vmalert": 8880}


@dataclass(frozen=True)
class Case:
    """A task at which the play is interrupted.

    Attributes:
        task: Beginning of the task's name.
        delay_s: Time after the start of the task, in seconds.
        new_release: Whether another release is deployed.
        new_secrets: Whether the certificate and the exporters' token are replaced.
    """

    task: str
    delay_s: float = 0.0
    new_release: bool = False
    new_secrets: bool = False


CASES = [
    Case("common : install | Ensure that the accounts"),
    Case("pki : host | Restart or reload the services", new_secrets=True),
    Case("release : install | Check that a service can run", new_release=True),
    Case("postgresql : service | Ensure"),
    Case("release : activate | Run the units with the new release", new_release=True),
    Case("master : service | Ensure", delay_s=1.0),
    Case("exporters : service | Ensure", new_secrets=True),
    Case("rtmp_server : service | Ensure"),
    Case("worker : service | Ensure"),
    Case("worker : service | Ensure", delay_s=1.0, new_release=True),
    Case("energy_reader : service | Ensure"),
    Case("Ensure that the services of the monitoring run"),
]

# Ends all connections of the machine and accepts no others for a while.
UNREACHABLE = """
import os, pathlib, subprocess, time
subprocess.run(["systemctl", "stop", "ssh.service", "ssh.socket"])
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if process.joinpath("comm").read_text().startswith("sshd"):
        os.kill(int(process.name), 9)
time.sleep(20)
subprocess.run(["systemctl", "start", "ssh.service"])
"""


def settings(number: int) -> dict[str, Any]:
    """Return settings that differ for each case."""
    return {
        "master_max_artifact_bytes": 100_000_000 + number,
        "master_systemd_hardening_extra": [f"Environment=FFRTMP_TEST={number}"],
        "worker_cache_max_bytes": 10_000_000_000 + number,
        "energy_reader_max_power_w": 1000 + number,
        "exporters_systemd_hardening_extra": [f"Environment=FFRTMP_TEST={number}"],
        "series_importer_pause_s": 15 + number,
        "vmalert_evaluation_interval_s": 15 + number,
        "victoria_metrics_scrape_interval_s": 3 + number,
        "alertmanager_repeat_interval": f"{number + 1}h",
        "rtmp_server_idle_timeout_s": 10 + number,
        "postgresql_connections_max": 100 + number,
    }


class Deployment:
    """The deployment of one set of settings, which can be repeated."""

    def __init__(self, folder: Path, number: int, case: Case) -> None:
        self._arguments = ["site.yml", "--extra-vars", f"@{folder / 'settings.json'}"]
        (folder / "settings.json").write_text(json.dumps(settings(number)))
        if case.new_release:
            shutil.rmtree(SOURCE, ignore_errors=True)
            shutil.copytree(ROOT / "files", SOURCE / "files")
            module = SOURCE / "files/shared/src/ffrtmp_shared/__init__.py"
            module.write_text(f"{module.read_text()}# Release {number}.\n")
        if SOURCE.exists():
            self._arguments += ["--extra-vars", f"release_source_dir={SOURCE}"]
        if case.new_secrets:
            (SECRETS / "pki/hosts/box1.pem").unlink(missing_ok=True)
            (SECRETS / "tokens/exporter").unlink(missing_ok=True)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the play in an environment that may interrupt it.

        The control node is as restrictive as the machine (prepare.yml).
        """
        inventory = SCENARIO / "inventory"
        return run_playbook(inventory, *self._arguments, environment=environment, umask=0o077)

    def correct(self) -> None:
        """Run the play twice. The first run must succeed, and the second change nothing."""
        corrected = self.run()
        assert corrected.returncode == 0, corrected.stdout
        again = self.run()
        assert again.returncode == 0, again.stdout
        assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}, again.stdout


def ansible(*arguments: str) -> list[str]:
    """Return a command that runs a module on the machine."""
    program = str(Path(sys.executable).with_name("ansible"))
    return [program, f"--inventory={SCENARIO / 'inventory'}", "box1", *arguments]


@pytest.fixture(scope="module", autouse=True)
def source() -> None:
    """Remove the sources of another release that an aborted test has left."""
    shutil.rmtree(SOURCE, ignore_errors=True)


@pytest.fixture
def machine(host: Host) -> Machine:
    return Machine(host, host.ansible.get_variables())


def check_services(machine: Machine, number: int) -> None:
    """Check that each service runs with the files on disk, without use of the role's records."""
    clocks = "import time; print(time.time() - time.monotonic())"
    booted_s = float(machine.host.check_output("python3 -c %s", clocks))
    for unit, files in READ_AT_START.items():
        service = machine.host.service(unit)
        assert service.is_running, unit
        assert service.systemd_properties["NRestarts"] == "0", unit
        assert service.systemd_properties["NeedDaemonReload"] == "no", unit
        changed_s = max(
            float(machine.host.check_output("stat --format=%%.Y %s", path)) for path in files
        )
        started_us = int(service.systemd_properties["ExecMainStartTimestampMonotonic"])
        started_s = booted_s + started_us / 1e6
        assert started_s >= changed_s, f"{unit} was started before its files changed"
    for unit in ("ffrtmp-master.service", "ffrtmp-exporter@cpu.service"):
        pid = machine.host.service(unit).systemd_properties["MainPID"]
        words = machine.host.file(f"/proc/{pid}/environ").content_string.split("\0")
        assert f"FFRTMP_TEST={number}" in words, unit
    # These services reread their settings without a restart.
    scrape = machine.request("https://127.0.0.1:8428/config")
    assert f"scrape_interval: {3 + number}s" in scrape.body
    routes = machine.request("https://127.0.0.1:9093/api/v2/status").json()
    assert f"repeat_interval: {number + 1}h" in routes["config"]["original"]
    with machine.host.sudo("postgres"):
        shown = machine.host.check_output("psql --tuples-only --command 'SHOW max_connections'")
    assert shown.strip() == str(100 + number)


def check_certificates(machine: Machine) -> None:
    """Check that every service presents the certificate on disk.

    The master and the exporters notice a changed certificate themselves within a minute.
    """
    wanted = machine.host.file(f"{CONFIG}/pki/host.pem").content_string
    deadline_s = time.monotonic() + 60
    for name, port in TLS_PORTS.items():
        program = f"import ssl; print(ssl.get_server_certificate(('127.0.0.1', {port})))"
        while True:
            served = machine.host.check_output("python3 -c %s", program)
            if ssl.PEM_cert_to_DER_cert(served) == ssl.PEM_cert_to_DER_cert(wanted):
                break
            assert time.monotonic() < deadline_s, f"{name} presents another certificate"
            time.sleep(1)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_next_run_corrects_an_interrupted_one(
    machine: Machine, tmp_path: Path, number: int
) -> None:
    case = CASES[number]
    deployment = Deployment(tmp_path, number, case)
    reached = tmp_path / "reached"
    killed = deployment.run(**interruption(case.task, reached, delay_s=case.delay_s))
    assert killed.returncode == -9, killed.stdout
    assert reached.read_text().startswith(case.task)
    deployment.correct()
    check_services(machine, number)
    check_certificates(machine)


def test_the_next_run_corrects_one_whose_host_became_unreachable(
    machine: Machine, tmp_path: Path
) -> None:
    number = len(CASES)
    deployment = Deployment(tmp_path, number, Case("", new_secrets=True))
    arguments = {"argv": ["systemd-run", "--collect", "python3", "-c", UNREACHABLE]}
    cut = ansible("--become", "--module-name=command", f"--args={json.dumps(arguments)}")
    reached = tmp_path / "reached"
    ended = deployment.run(**interruption("worker : service | Ensure", reached, command=cut))
    assert "unreachable=1" in ended.stdout, ended.stdout
    deadline_s = time.monotonic() + 60
    while subprocess.run(ansible("--module-name=ping"), cwd=ROOT, check=False).returncode != 0:
        assert time.monotonic() < deadline_s
    deployment.correct()
    check_services(machine, number)
    check_certificates(machine)
