"""Tests that two services of a host cannot have the same port."""

from pathlib import Path
from typing import Any

import pytest
from role_templates import load_yaml, render

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    name: value
    for path in sorted((ROOT / "group_vars").glob("*.yml"))
    for name, value in load_yaml(path).items()
}
GROUPS = ["master", "worker", "monitoring", "postgresql", "rtmp_server"]


def _variables(groups: list[str], **changed: Any) -> dict[str, Any]:
    return {
        **load_yaml(ROOT / "playbooks/vars/port_checks.yml"),
        **SETTINGS,
        "farm_postgresql_version": "17",
        "group_names": groups,
        "inventory_hostname": "h1",
        **changed,
    }


@pytest.mark.parametrize("groups", [GROUPS, ["load_balancer", "monitoring", "postgresql"]])
def test_the_defaults_have_no_conflict(groups: list[str]) -> None:
    assert render("{{ __farm_port_conflicts }}", _variables(groups)) == []


@pytest.mark.parametrize("port", [9507, "9507"])
def test_a_port_of_two_services_is_refused_with_both(port: Any) -> None:
    variables = _variables(GROUPS, farm_api_port=port, farm_rtmp_port="9510")
    problem = render("{{ __farm_port_conflict_problem }}", variables)
    assert "Port 9507 of h1 is that of ffrtmp-master.service." in problem
    assert (
        "Port 9510 of h1 is that of ffrtmp-exporter@cpu.service and ffrtmp-rtmp-server.service."
        in problem
    )
    assert render("{{ __farm_port_conflicts }}", _variables(["rtmp_server"])) == []
