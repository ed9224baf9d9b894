"""The certificate of a host that is removed from the farm on SQLite."""

import removed_host
from deployed_farm import Machine

from .conftest import SECRETS, run_playbook

testinfra_hosts = ["ansible://rtmp_server"]


def _main_process(machine: Machine, unit: str) -> int:
    return int(machine.host.service(unit).systemd_properties["MainPID"])


def test_exporters_and_rtmp_server_reject_a_removed_host(machine: Machine) -> None:
    address = machine.address
    before = _main_process(machine, "ffrtmp-rtmp-server.service")

    urls = [f"https://{address}:8936/stat"]
    urls += [f"https://{address}:{port}/metrics" for port in (9502, 9503, 9504, 9600)]
    removed_host.check_revocation(machine, SECRETS / "pki", urls, run_playbook)

    assert _main_process(machine, "ffrtmp-rtmp-server.service") == before
