"""The certificate of a host that is removed from the farm on PostgreSQL."""

import removed_host

from .conftest import SECRETS, Machine, run_playbook

testinfra_hosts = ["ansible://load_balancer"]


def test_load_balancer_and_exporters_reject_a_removed_host(machine: Machine) -> None:
    address = machine.address
    before = machine.host.service("haproxy").systemd_properties["MainPID"]

    # HAProxy passes the connections to the exporters through.
    urls = [f"https://{address}:{port}/metrics" for port in (8405, 9502, 9503, 9504, 9600)]
    removed_host.check_revocation(machine, SECRETS / "pki", urls, run_playbook)

    assert machine.host.service("haproxy").systemd_properties["MainPID"] == before
    assert all(machine.balanced().values())
