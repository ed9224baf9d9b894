"""Test that inventories with group names of release 0.1.0 are refused with the new names."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")


def test_former_group_names_are_refused_with_the_new_ones(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "group_vars", tmp_path / "group_vars")
    groups = {"master": "m1", "worker": "w1", "load_balancers": "b1", "rtmp_servers": "m1"}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    children = {group: {"hosts": {host: {}}} for group, host in groups.items()}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"vars": local, "children": children}}))
    done = subprocess.run(
        [ANSIBLE, "--inventory", tmp_path, "playbooks/hosts.yml", "--check"],
        cwd=root,
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert (
        "rename load_balancers and rtmp_servers to load_balancer and rtmp_server in the inventory"
    ) in " ".join(done.stdout.split())
