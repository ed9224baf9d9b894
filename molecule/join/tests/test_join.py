"""A worker that was deployed alone from another inventory, and joined a master."""

import json
from pathlib import Path
from typing import Any

import pytest
from deployed_farm import ROOT, Machine, run_playbook
from polling import wait_until
from testinfra import get_host
from testinfra.host import Host

testinfra_hosts = ["ansible://master"]

INVENTORY = ROOT / "molecule/join/inventory"
WORKER_INVENTORY = ROOT / "molecule/join/worker_inventory"
SECRETS = ROOT / ".secrets/join"
WORKER_EXPORTERS = ("cpu", "gpu", "ffmpeg", "node")


@pytest.fixture
def machine(host: Host) -> Machine:
    """The machine of the master."""
    return Machine(host, host.ansible.get_variables())


@pytest.fixture
def worker() -> Machine:
    """The machine of the worker, which only its own inventory contains."""
    path = str(WORKER_INVENTORY / "hosts.yml")
    host = get_host("ansible://w3", ansible_inventory=path, sudo=True)
    return Machine(host, host.ansible.get_variables())


def _nodes(machine: Machine) -> dict[str, Any]:
    token = (SECRETS / "tokens/operator").read_text().strip()
    answer = machine.request("https://127.0.0.1:8080/v1/nodes", token=token, certificate=True)
    assert answer.status == 200, answer.body
    return {node["name"]: node for node in answer.json()["items"]}


def _health(machine: Machine) -> dict[str, str]:
    """Return the health of each target of the worker, by job."""
    answer = machine.request("https://127.0.0.1:8428/api/v1/targets", certificate=True)
    targets = answer.json()["data"]["activeTargets"]
    return {
        target["labels"]["job"]: target["health"]
        for target in targets
        if target["labels"].get("node") == "w3"
    }


def _wait_for_health(machine: Machine, jobs: tuple[str, ...]) -> None:
    """Wait until the worker has exactly these targets, and all of them are up."""
    wait_until(
        lambda: _health(machine) == dict.fromkeys(jobs, "up"),
        lambda: f"the targets of the worker are {_health(machine)}",
        interval_s=2,
    )


def test_the_worker_has_a_current_agent(worker: Machine) -> None:
    agent = worker.host.service("ffrtmp-agent@1").systemd_properties
    assert agent["StatusText"].startswith("registered with https://")


def test_the_worker_is_registered(machine: Machine) -> None:
    assert {name: node["state"] for name, node in _nodes(machine).items()} == {"w3": "active"}


def test_the_exporters_of_the_worker_are_discovered(machine: Machine) -> None:
    _wait_for_health(machine, WORKER_EXPORTERS)


def test_the_worker_ran_a_benchmark() -> None:
    (results,) = (ROOT / ".state/join-results").glob("[0-9]*/results.json")
    found = json.loads(results.read_text())["results"]
    assert {result["node"] for result in found} == {"w3"}


def test_the_worker_has_only_its_own_secrets() -> None:
    secrets = ROOT / ".secrets/join-worker"
    files = {str(path.relative_to(secrets)) for path in secrets.rglob("*") if path.is_file()}
    assert files == {
        "join/w3.json",
        "pki/ca.pem",
        "pki/crl.pem",
        "pki/hosts/w3.key",
        "pki/hosts/w3.pem",
        "tokens/agent-w3",
    }


def test_a_second_deployment_changes_nothing_and_needs_no_archive() -> None:
    again = run_playbook(WORKER_INVENTORY, "playbooks/joined-worker.yml")
    assert again.returncode == 0, again.stdout
    recap = again.stdout.partition("PLAY RECAP")[2]
    assert recap.count("changed=") == recap.count("changed=0"), again.stdout


def test_a_renewed_certificate_is_installed_without_a_restart(
    worker: Machine, tmp_path: Path
) -> None:
    before = worker.host.service("ffrtmp-agent@1").systemd_properties["InvocationID"]
    stored = worker.host.file("/etc/ffmpeg-rtmp/pki/host.pem").content_string
    renewed = run_playbook(
        INVENTORY, "playbooks/renew-certificates.yml", "--extra-vars", "pki_renew_days=400"
    )
    assert renewed.returncode == 0, renewed.stdout
    archive = tmp_path / "w3.tar"
    archive.touch(mode=0o600)
    archive.write_bytes((SECRETS / "joined/w3.tar").read_bytes())
    deployed = run_playbook(
        WORKER_INVENTORY,
        "playbooks/joined-worker.yml",
        "--extra-vars",
        f"join_archive_file={archive}",
    )
    assert deployed.returncode == 0, deployed.stdout
    assert worker.host.file("/etc/ffmpeg-rtmp/pki/host.pem").content_string != stored
    after = worker.host.service("ffrtmp-agent@1").systemd_properties
    assert after["InvocationID"] == before
    assert after["StatusText"].startswith("registered with https://")


def test_a_worker_that_leaves_loses_its_access(machine: Machine, worker: Machine) -> None:
    mistyped = run_playbook(INVENTORY, "playbooks/leave.yml", "--extra-vars", "node=w33")
    assert mistyped.returncode != 0
    assert "Joined workers: w3." in " ".join(mistyped.stdout.split())
    address = machine.address
    url = f"https://{address}:9502/metrics"
    assert worker.request(url, certificate=True).status == 200
    left = run_playbook(INVENTORY, "playbooks/leave.yml", "--extra-vars", "node=w3")
    assert left.returncode == 0, left.stdout
    assert _nodes(machine) == {}
    # The certificate is on the revocation list, so the server does not answer.
    wait_until(
        lambda: worker.request(url, certificate=True).status == 0,
        "the exporter of the master refuses the certificate of the worker",
        interval_s=1,
    )
    _wait_for_health(machine, ())
