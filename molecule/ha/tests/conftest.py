"""Fixtures, paths and machines of the tests of the farm on PostgreSQL."""

import re
import subprocess

import deployed_farm
import pytest
import testinfra
from deployed_farm import ROOT
from testinfra.host import Host

INVENTORY = ROOT / "molecule/ha/inventory"
SECRETS = ROOT / ".secrets/ha"
RESULTS = ROOT / ".state/ha-results"

_STATUS = re.compile(r'haproxy_server_status{proxy="(\w+)",server="(\w+)",state="UP"} (\d)')


def run_playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook with the inventory of this scenario."""
    return deployed_farm.run_playbook(INVENTORY, *arguments)


def host_named(name: str) -> Host:
    """Return the testinfra host of a machine other than the tested one."""
    hosts = str(INVENTORY / "hosts.yml")
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=hosts, sudo=True)


class Machine(deployed_farm.Machine):
    """A machine of the farm, which may run the load balancer."""

    def balanced(self) -> dict[tuple[str, str], bool]:
        """Return whether HAProxy reports each master as up, by service and master."""
        answer = self.request("https://127.0.0.1:8405/metrics", certificate=True)
        assert answer.status == 200, answer.body
        statuses = _STATUS.findall(answer.body)
        return {(service, master): status == "1" for service, master, status in statuses}


@pytest.fixture
def machine(host: Host) -> Machine:
    """Return each machine of the test module's hosts in turn."""
    return Machine(host, host.ansible.get_variables())


@pytest.fixture
def operator() -> str:
    """Return the operator's token."""
    return (SECRETS / "tokens/operator").read_text().strip()


@pytest.fixture
def password() -> str:
    """Return the password of the farm's database."""
    return (SECRETS / "tokens/postgresql").read_text().strip()
