"""Tests of playbooks/access.yml, which prints how to open the monitoring and how to log in."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local_playbook import run_playbook

pytestmark = pytest.mark.slow

MACHINES = [
    {"name": "master1", "groups": ["master", "monitoring"], "release": "bookworm"},
    {"name": "worker1", "groups": ["worker"], "release": "trixie"},
]


def demo_inventory(root: Path, folder: Path) -> Path:
    """Write the inventory of the demo with the template of the role test_machines."""
    inventory = folder / "local"
    shutil.copytree(root / "inventories/local", inventory, symlinks=True)
    shutil.rmtree(inventory / "group_vars")
    shutil.copytree(root / "inventories/local/group_vars", inventory / "group_vars")
    role = root / "roles/test_machines"
    files = {
        "src": str(role / "templates/hosts.yml.j2"),
        "dest": str(inventory / "hosts.yml"),
        "mode": "0600",
    }
    settings = {
        "ansible_python_interpreter": sys.executable,
        "test_machines_hosts": MACHINES,
        "test_machines_state_dir": str(folder / "a state"),
        "__test_machines_network_part": "10.89.7",
    }
    tasks = [{"ansible.builtin.template": files}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    known = [str(role / name) for name in ("defaults/main.yml", "vars/main.yml")]
    (folder / "inventory.yml").write_text(json.dumps([play | {"vars_files": known}]))
    arguments = ["--extra-vars", json.dumps(settings), "inventory.yml"]
    done = run_playbook(root, folder, "--inventory", "localhost,", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return inventory


def shown(root: Path, folder: Path, inventory: Path, *arguments: str) -> str:
    playbook = str(root / "playbooks/access.yml")
    done = run_playbook(root, folder, "-i", str(inventory), *arguments, playbook)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ssh_settings(output: str, pattern: str) -> dict[str, list[str]]:
    """Return how ssh reads the arguments of a printed command."""
    (command,) = re.findall(pattern, output, re.MULTILINE)
    program, *arguments = shlex.split(command)
    assert program == "ssh"
    done = subprocess.run(
        [shutil.which("ssh") or "ssh", "-G", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(value)
    return found


def test_the_tunnel_of_the_demo_has_its_key_and_address(root: Path, tmp_path: Path) -> None:
    output = shown(root, tmp_path, demo_inventory(root, tmp_path))
    # ssh ignores a key that does not exist.
    (tmp_path / "a state").mkdir()
    (tmp_path / "a state/id_ed25519").touch()

    settings = ssh_settings(output, r"^\s*(ssh -o .* -N -L .*)$")
    assert settings["hostname"] == ["10.89.7.10"]
    assert settings["user"] == ["deploy"]
    assert settings["identityfile"] == [str(tmp_path / "a state/id_ed25519")]
    assert settings["userknownhostsfile"] == [str(tmp_path / "a state/known_hosts")]
    assert settings["stricthostkeychecking"] == ["true"]
    assert settings["localforward"] == [
        "8428 [127.0.0.1]:8428",
        "8880 [127.0.0.1]:8880",
    ]
    assert "https://127.0.0.1:8428/targets" in output
    assert ".secrets/local/pki/ca.pem" in output
    assert "Grafana is not deployed" in output

    worker = ssh_settings(output, r"^\s*Log in to worker1: (ssh .*)$")
    assert (worker["hostname"], worker["user"]) == (["10.89.7.11"], ["deploy"])
    assert "localforward" not in worker


def test_a_limit_does_not_change_what_is_printed(root: Path, tmp_path: Path) -> None:
    inventory = demo_inventory(root, tmp_path)
    limited = shown(root, tmp_path, inventory, "--limit", "worker1")
    assert ssh_settings(limited, r"^\s*(ssh -o .* -N -L .*)$")["hostname"] == ["10.89.7.10"]
    assert "Log in to master1: ssh " in limited
    assert limited == shown(root, tmp_path, inventory)


@pytest.mark.parametrize(
    ("host", "connection", "expected"),
    [
        ({"ansible_host": "192.0.2.10", "ansible_user": "me", "ansible_port": 2222}, "me", "2222"),
        ({"ansible_host": "192.0.2.10"}, None, "22"),
    ],
)
def test_the_login_of_an_own_farm_is_that_of_its_inventory(
    root: Path, tmp_path: Path, host: dict[str, Any], connection: str | None, expected: str
) -> None:
    inventory = tmp_path / "prod"
    shutil.copytree(root / "group_vars", inventory / "group_vars")
    groups = {name: {"hosts": {"master1": host}} for name in ("master", "monitoring")}
    (inventory / "hosts.yml").write_text(json.dumps({"all": {"children": groups}}))
    output = shown(root, tmp_path, inventory)

    settings = ssh_settings(output, r"^\s*Log in to master1: (ssh .*)$")
    assert settings["hostname"] == ["192.0.2.10"]
    assert settings["port"] == [expected]
    if connection:
        assert settings["user"] == [connection]
    assert "Grafana: https://192.0.2.10:3000" in output


def test_a_farm_on_this_computer_needs_no_tunnel(root: Path, tmp_path: Path) -> None:
    output = shown(root, tmp_path, root / "inventories/stack")
    assert "https://127.0.0.1:8428/targets" in output
    assert "Grafana: https://127.0.0.1:3000" in output
    assert "ssh " not in output
