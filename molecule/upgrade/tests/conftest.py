"""Fixtures and paths of the tests of an upgraded farm, for several scenarios."""

import os
import subprocess
from pathlib import Path

import deployed_farm
import pytest
from deployed_farm import ROOT
from ruamel.yaml import YAML

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


def run_playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook with the inventory of the scenario."""
    return deployed_farm.run_playbook(SCENARIO / "inventory", *arguments)


@pytest.fixture(scope="session")
def results_dir() -> Path:
    """The directory on the control node that contains the fetched results."""
    settings = YAML(typ="safe").load(SCENARIO / f"inventory/group_vars/all/50_{SCENARIO.name}.yml")
    name: str = settings["farm_name"]
    return ROOT / f".state/{name}-results"
