"""Fixtures and paths of the tests of the farm on SQLite."""

import subprocess

import deployed_farm
import pytest
import testinfra
from deployed_farm import ROOT, Machine
from testinfra.host import Host

SECRETS = ROOT / ".secrets/molecule"
RESULTS = ROOT / ".state/molecule-results"


def run_playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook with the inventory of this scenario."""
    return deployed_farm.run_playbook(ROOT / "molecule/default/inventory", *arguments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Test the dashboards after the revocation, from which the farm has a revocation list."""
    order = {"test_dashboards.py": "test_revocation.py, then the dashboards"}
    items.sort(key=lambda item: order.get(item.path.name, item.path.name))


@pytest.fixture
def machine(host: Host) -> Machine:
    """Return each machine of the test module's hosts in turn."""
    return Machine(host, host.ansible.get_variables())


def machine_named(name: str) -> Machine:
    """Return a machine by its name in the inventory."""
    hosts = str(ROOT / "molecule/default/inventory/hosts.yml")
    host = testinfra.get_host(f"ansible://{name}", ansible_inventory=hosts, sudo=True)
    return Machine(host, host.ansible.get_variables())


@pytest.fixture
def monitoring_host() -> Machine:
    """Return the machine with the monitoring."""
    return machine_named("master1")


@pytest.fixture
def operator() -> str:
    """Return the operator's token."""
    return (SECRETS / "tokens/operator").read_text().strip()
