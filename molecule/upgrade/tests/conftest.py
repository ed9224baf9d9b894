"""Fixtures and paths of the tests of an upgraded farm, for several scenarios."""

import json
import os
import ssl
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import deployed_farm
import pytest
from deployed_farm import ROOT
from ruamel.yaml import YAML

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


def run_playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook with the inventory of the scenario."""
    return deployed_farm.run_playbook(SCENARIO / "inventory", *arguments)


def request(url: str, *, token: str, ca: Path) -> Any:
    """Return the JSON document at a URL of the master's API."""
    call = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    context = ssl.create_default_context(cafile=ca)
    with urllib.request.urlopen(call, context=context, timeout=30) as response:  # noqa: S310
        return json.load(response)


@pytest.fixture(scope="session")
def results_dir() -> Path:
    """Return the directory on the control node that contains the fetched results."""
    settings = YAML(typ="safe").load(SCENARIO / f"inventory/group_vars/all/50_{SCENARIO.name}.yml")
    name: str = settings["farm_name"]
    return ROOT / f".state/{name}-results"
