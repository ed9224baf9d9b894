"""A play that shows the settings that playbooks derive from an inventory."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from local_playbook import run_playbook


def run_play(root: Path, folder: Path, children: dict[str, Any], play: dict[str, Any]) -> None:
    """Run a play with the farm's group_vars and the variables of its playbooks.

    Args:
        root: The project's root.
        folder: An empty folder, which becomes the working directory with the inventory.
        children: The groups of the inventory. All of their hosts are this computer.
        play: The play, whose relative paths begin in the folder `playbooks`.

    Raises:
        AssertionError: The play failed.
    """
    inventory = folder / "inventory"
    shutil.copytree(root / "group_vars", inventory / "group_vars")
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (inventory / "hosts.yml").write_text(json.dumps({"all": {"vars": local, "children": children}}))
    shutil.copytree(root / "playbooks/vars", folder / "playbooks/vars")
    (folder / "playbooks/probe.yml").write_text(json.dumps([play]))
    done = run_playbook(root, folder, "-i", str(inventory), "playbooks/probe.yml")
    assert done.returncode == 0, done.stdout + done.stderr
