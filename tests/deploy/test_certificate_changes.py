"""Tests of the units that a changed certificate or revocation list restarts or reloads."""

from typing import Any

import pytest
from role_templates import ROOT, load_yaml, render

PKI = "/etc/ffmpeg-rtmp/pki/"
SETTINGS: dict[str, dict[str, Any]] = {
    "master": {
        "master_client_ca_file": f"{PKI}ca.pem",
        "master_client_crl_file": f"{PKI}crl.pem",
        "inventory_hostname": "m1",
        "playbook_dir": "/x/playbooks",
    },
    "exporters": {"exporters_instances": [{"name": "cpu", "port": 9510}]},
    "worker": {
        "worker_certificate_file": f"{PKI}host.pem",
        "worker_key_file": f"{PKI}host.key",
        "worker_vmaf_threads": 1,
        "inventory_hostname": "w1",
    },
    "rtmp_server": {},
    "load_balancer": {},
}


def _unit(role: str, expression: str) -> dict[str, Any]:
    folder = ROOT / "roles" / role
    variables = load_yaml(folder / "defaults/main.yml") | load_yaml(folder / "vars/main.yml")
    unit: dict[str, Any] = render(expression, variables | SETTINGS[role])
    return unit


@pytest.mark.parametrize(
    ("role", "expression"),
    [
        ("master", "{{ __master_unit }}"),
        ("exporters", "{{ __exporters_units[0] }}"),
        ("worker", "{{ __worker_declared_units[0] }}"),
    ],
)
def test_programs_that_load_changed_certificates_are_not_restarted(
    role: str, expression: str
) -> None:
    unit = _unit(role, expression)
    files = [*unit["inputs"], *unit.get("reload_inputs", [])]
    assert files
    assert [file for file in files if file.startswith(PKI)] == []


@pytest.mark.parametrize(
    ("role", "expression"),
    [("rtmp_server", "{{ __rtmp_server_unit }}"), ("load_balancer", "{{ __load_balancer_unit }}")],
)
def test_other_servers_that_verify_clients_are_reloaded(role: str, expression: str) -> None:
    unit = _unit(role, expression)
    assert {f"{PKI}ca.pem", f"{PKI}crl.pem"} <= set(unit["reload_inputs"])
    assert [file for file in unit["inputs"] if file.startswith(PKI)] == []
