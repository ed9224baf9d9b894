"""The scenario whose machines the tests look at, and plays on them."""

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[3]
SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook on the machines, as an operator does on the control node."""
    command = [str(Path(sys.executable).with_name("ansible-playbook"))]
    command += ["--inventory", str(SCENARIO / "inventory"), *arguments]
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "false",
        "LC_ALL": "C.UTF-8",
    }
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )


def request(url: str, *, token: str, ca: Path) -> Any:
    """Return the JSON document at a URL of the master's API."""
    call = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    context = ssl.create_default_context(cafile=ca)
    with urllib.request.urlopen(call, context=context, timeout=30) as response:  # noqa: S310
        return json.load(response)


@pytest.fixture(scope="session")
def results_dir() -> Path:
    """The directory on the control node that contains the fetched results."""
    settings = YAML(typ="safe").load(SCENARIO / f"inventory/group_vars/all/50_{SCENARIO.name}.yml")
    name: str = settings["farm_name"]
    return ROOT / f".state/{name}-results"
