"""Tests of the farm's common settings, which every inventory links and may override."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

PROBE = [
    {
        "name": "Write the settings",
        "hosts": "master",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Write the settings",
                "ansible.builtin.copy": {
                    "content": "{{ [farm_api_port, farm_name, farm_root] | to_json }}",
                    "dest": "{{ inventory_dir }}/../../settings.json",
                    "mode": "0600",
                },
            }
        ],
    }
]


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A copy of the files with settings, with a playbook that writes some settings to a file."""
    for name in ("ansible.cfg", "site.yml"):
        shutil.copy(root / name, tmp_path / name)
    for name in ("group_vars", "inventories/example", "plugins"):
        shutil.copytree(root / name, tmp_path / name, symlinks=True)
    (tmp_path / "playbooks").mkdir()
    with (tmp_path / "playbooks/site.yml").open("w") as file:
        YAML().dump(PROBE, file)
    return tmp_path


def settings(checkout: Path, playbook: str) -> list[object]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(checkout),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(checkout / "ansible.cfg"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    subprocess.run(
        [str(ANSIBLE_PLAYBOOK), "--inventory", "inventories/example", playbook],
        cwd=checkout,
        env=environment,
        check=True,
    )
    found: list[object] = json.loads((checkout / "settings.json").read_text())
    return found


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/site.yml"])
def test_root_settings_reach_an_inventory(checkout: Path, playbook: str) -> None:
    assert settings(checkout, playbook) == [8080, "example", str(checkout)]


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/site.yml"])
def test_an_inventory_overrides_root_settings(checkout: Path, playbook: str) -> None:
    own = checkout / "inventories/example/group_vars/all/50_example.yml"
    own.write_text("---\nfarm_name: mine\nfarm_api_port: 9443\n")
    assert settings(checkout, playbook) == [9443, "mine", str(checkout)]


def test_every_inventory_links_the_farms_settings(root: Path) -> None:
    common = {path.stem: path for path in (root / "group_vars").glob("*.yml")}
    inventories = [root / "inventories/example", root / "inventories/local"]
    for inventory in [*inventories, root / "molecule/default/inventory"]:
        for group, path in common.items():
            link = inventory / "group_vars" / group / "00_common.yml"
            assert link.is_symlink()
            assert link.resolve() == path


@pytest.mark.parametrize("inventory", ["inventories/joined", "molecule/join/worker_inventory"])
def test_an_inventory_of_workers_that_join_links_their_settings(root: Path, inventory: str) -> None:
    for group in ("all", "worker"):
        folder = root / inventory / "group_vars" / group
        assert (folder / "00_common.yml").resolve() == root / f"group_vars/{group}.yml"
        own = root / f"inventories/joined/group_vars/{group}/50_joined.yml"
        assert (folder / "50_joined.yml").resolve() == own
