"""Tests that tasks on the control node do not depend on an entry localhost of the inventory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_playbook import run_playbook
from role_templates import load_yaml

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {
    "ansible_connection": "local",
    "ansible_become": False,
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
}


def _delegated(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("delegate_to") == "localhost":
            yield node
        for child in node.values():
            yield from _delegated(child)
    elif isinstance(node, list):
        for child in node:
            yield from _delegated(child)


def test_every_task_on_the_control_node_states_how_it_runs() -> None:
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml")]
    found = [(path, task) for path in files for task in _delegated(load_yaml(path))]
    assert len(found) >= 20
    wrong = [
        f"{path.relative_to(ROOT)}: {task.get('name')}"
        for path, task in found
        if {name: task.get("vars", {}).get(name) for name in NEEDED} != NEEDED
    ]
    assert wrong == []


@pytest.mark.slow
def test_an_entry_localhost_of_the_inventory_has_no_effect(root: Path, tmp_path: Path) -> None:
    unusable = {
        "ansible_connection": "ssh",
        "ansible_host": "192.0.2.1",
        "ansible_become": True,
        "ansible_python_interpreter": "/nonexistent/python3",
    }
    inventory = {"all": {"hosts": {"localhost": unusable, "m1": {"ansible_connection": "local"}}}}
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    variables = {"credentials_dir": str(tmp_path / "tokens"), "credentials_names": ["operator"]}
    play = {
        "name": "Create a token",
        "hosts": "m1",
        "gather_facts": False,
        "roles": [{"role": "credentials", "vars": variables}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = run_playbook(root, tmp_path, "-i", "hosts.yml", "play.yml")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "tokens/operator").read_text().strip()
