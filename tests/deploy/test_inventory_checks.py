"""Tests that incomplete inventories are refused with the remedy, before anything is changed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from local_playbook import run_playbook

pytestmark = pytest.mark.slow

_LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


def refusal(root: Path, folder: Path, groups: dict[str, Any], linked: list[str]) -> str:
    """Return the output of the checks, which must refuse an inventory.

    Args:
        root: The project's root.
        folder: An empty folder for the inventory.
        groups: The hosts of each group, with their variables.
        linked: The groups whose settings the inventory links.
    """
    for group in linked:
        link = folder / f"group_vars/{group}/00_common.yml"
        link.parent.mkdir(parents=True)
        link.symlink_to(root / f"group_vars/{group}.yml")
    children = {group: {"hosts": hosts} for group, hosts in groups.items()}
    inventory = {"all": {"vars": _LOCAL, "children": children}}
    (folder / "hosts.yml").write_text(json.dumps(inventory))
    done = run_playbook(root, root, "--check", "--inventory", str(folder), "playbooks/hosts.yml")
    assert done.returncode != 0, done.stdout
    return " ".join(done.stdout.split())


def test_an_inventory_without_the_farms_settings_is_refused(root: Path, tmp_path: Path) -> None:
    output = refusal(root, tmp_path, {"master": {"m1": {}}, "worker": {"w1": {}}}, [])
    assert "make inventory NAME=prod" in output
    assert (
        f"mkdir -p group_vars/master && ln -s {root}/group_vars/master.yml "
        "group_vars/master/00_common.yml"
    ) in output
    assert "is undefined" not in output


def test_a_group_without_its_settings_is_refused(root: Path, tmp_path: Path) -> None:
    groups = {"master": {"m1": {}}, "worker": {"w1": {}}, "postgresql": {"p1": {}}}
    output = refusal(root, tmp_path, groups, ["all", "master", "worker"])
    assert "does not link all settings of the farm for p1." in output
    assert "group_vars/postgresql/00_common.yml" in output


@pytest.mark.parametrize("address", ["localhost", "127.0.1.1", "::1"])
def test_an_address_that_other_hosts_cannot_use_is_refused(
    root: Path, tmp_path: Path, address: str
) -> None:
    groups = {"master": {"control": {"ansible_host": address}}, "worker": {"w1": {}}}
    output = refusal(root, tmp_path, groups, ["all", "master", "worker"])
    assert f"The farm_address of control is {address}, at which the other hosts" in output
    assert "Set farm_address for this host" in output
