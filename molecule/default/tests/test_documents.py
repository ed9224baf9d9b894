"""Commands of the documents, on the hosts for which they are meant."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import alert_rules
import pytest
from deployed_farm import ROOT
from polling import wait_until
from postgresql import free_port

from .conftest import SECRETS, machine_named, run_playbook

INVENTORY = ROOT / "molecule/default/inventory"
WORKER_PORT = "9510"
WORKERS = ("worker1", "worker2")
PAGES = [ROOT / "docs/alerts.md", *sorted(alert_rules.RUNBOOKS.glob("*.md"))]


def commands(page: Path) -> list[str]:
    """Return the commands of a page."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines]


def request_commands() -> list[str]:
    """Return the commands of the alerts' pages that only read something with curl."""
    found = [command for page in PAGES for command in commands(page)]
    return [text for text in found if text.startswith("curl ") and "--json" not in text]


def requests_by_host() -> list[tuple[str, str]]:
    """Return those commands with each host for which they are meant."""
    return [
        (name, command)
        for command in request_commands()
        for name in (WORKERS if f":{WORKER_PORT}/" in command else ("master1",))
    ]


@pytest.mark.parametrize(("name", "command"), requests_by_host())
def test_the_requests_of_the_runbooks_are_answered(name: str, command: str) -> None:
    """The pages tell the operator to install curl and jq."""
    machine = machine_named(name)
    if not machine.host.package("jq").is_installed:
        machine.host.check_output("apt-get update && apt-get install --yes curl jq")
    machine.host.check_output(command.replace("curl ", "curl --fail ", 1))


@contextmanager
def tunnel(command: str, ports: dict[str, int]) -> Iterator[None]:
    """Forward the ports of a printed command, which are replaced by free ports on this computer."""
    words = [
        re.sub(r"^(\d+):", lambda match: f"{ports[match[1]]}:", word)
        for word in shlex.split(command)
    ]
    words[1:1] = ["-o", "ExitOnForwardFailure=yes"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def run_on_control_node(command: str, ports: dict[str, int]) -> str:
    """Run a command of docs/monitoring.md with the inventory and the secrets of this farm."""
    for documented, port in ports.items():
        if command.startswith("curl "):
            command = command.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{port}")
    command = command.replace("inventories/prod", shlex.quote(str(INVENTORY)))
    command = command.replace(".secrets/prod", shlex.quote(str(SECRETS)))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8", "PATH": path}
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_the_monitoring_is_reached_from_the_control_node() -> None:
    ports = {port: free_port() for port in ("8428", "8880", WORKER_PORT)}
    printed = run_playbook("playbooks/access.yml").stdout
    (forward,) = re.findall(r"^\s*(ssh .* -L .*)$", printed, re.MULTILINE)
    (login,) = re.findall(r"^\s*Log in to worker1: (ssh .*)$", printed, re.MULTILINE)
    exporter = f"-N -L {WORKER_PORT}:127.0.0.1:{WORKER_PORT}"
    _, query, alerts, metrics, remote_query, remote_metrics = commands(ROOT / "docs/monitoring.md")
    pages = [
        f"curl --silent --fail --cacert .secrets/prod/pki/ca.pem https://127.0.0.1:{page}"
        for page in ("8428/targets", "8880/vmalert/alerts")
    ]
    with (
        tunnel(forward, ports),
        tunnel(login.replace("ssh ", f"ssh {exporter} ", 1), ports),
    ):

        def is_reachable() -> bool:
            probe = f"curl --silent --fail --output /dev/null {{}} https://127.0.0.1:{WORKER_PORT}"
            credentials = metrics.partition("--cacert")[2].rpartition(" ")[0]
            command = probe.format(f"--cacert{credentials}") + "/-/healthy && echo yes || echo no"
            return run_on_control_node(command, ports) == "yes\n"

        wait_until(is_reachable, "the exporter of worker1 answers", interval_s=0.5)
        for page in pages:
            assert run_on_control_node(page, ports)
        assert '"status":"success"' in run_on_control_node(query, ports)
        assert "Watchdog" in run_on_control_node(alerts, ports)
        assert "\nffrtmp_node_cpu_seconds_total{" in run_on_control_node(metrics, ports)
    assert "status: 200" in run_on_control_node(remote_query, ports)
    assert "ffrtmp_node_cpu_seconds_total" in run_on_control_node(remote_metrics, ports)
