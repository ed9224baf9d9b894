"""A run of ansible-playbook on this computer."""

import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(sys.executable).with_name("ansible-playbook")


def run_playbook(
    root: Path, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a playbook with the settings of the project, and return its status and its output.

    Args:
        root: The project's root.
        folder: The working directory.
        *arguments: The inventory, options, and the playbook.
        **environment: Additional environment variables.
    """
    settings = {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [_PROGRAM, *arguments],
        cwd=folder,
        env=os.environ | settings | environment,
        capture_output=True,
        text=True,
        check=False,
    )
