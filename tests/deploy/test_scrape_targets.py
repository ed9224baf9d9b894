"""Tests of the targets that the playbook derives from the inventory."""

from typing import Any

import pytest
from role_templates import ROOT, load_yaml, render

_GROUPS = {
    "master": ["m1", "m2"],
    "worker": ["w1"],
    "monitoring": ["o1"],
    "postgresql": ["d1"],
    "load_balancer": ["b1"],
    "rtmp_server": ["w1"],
}
_HOSTS = sorted({host for hosts in _GROUPS.values() for host in hosts} | {"unused"})


@pytest.fixture
def variables() -> dict[str, Any]:
    """The variables of the play, for a farm with a host of each kind."""
    (play,) = load_yaml(ROOT / "playbooks/monitoring.yml")
    names = {host: [group for group, hosts in _GROUPS.items() if host in hosts] for host in _HOSTS}
    role = next(role["vars"] for role in play["roles"] if role["role"] == "victoria_metrics")
    return {
        **load_yaml(ROOT / "group_vars/all.yml"),
        **load_yaml(ROOT / "group_vars/monitoring.yml"),
        **play["vars"],
        **role,
        "inventory_hostname": "o1",
        "farm_address": "o1.lan",
        "groups": {**_GROUPS, "all": _HOSTS},
        "hostvars": {
            host: {"farm_address": f"{host}.lan", "group_names": names[host]} for host in _HOSTS
        },
    }


def test_the_exporters_of_the_master_are_scraped_through_the_load_balancer(
    variables: dict[str, Any],
) -> None:
    ports = {"results": 9502, "qoe": 9503, "cost": "9504", "health": 9600}
    given = variables | {"farm_exporter_ports": ports}
    for exporter, port in ports.items():
        name = f"victoria_metrics_{exporter}_targets"
        # Another exporter health checks the services of the monitoring host.
        own = ["o1.lan:9601"] if exporter == "health" else []
        assert render(f"{{{{ {name} }}}}", given) == [f"b1.lan:{port}", *own]
    on_master = given | {"inventory_hostname": "m1"}
    assert render("{{ victoria_metrics_health_targets }}", on_master) == ["b1.lan:9600"]
    # An exporter without a port is not deployed.
    given = variables | {"farm_exporter_ports": {"results": 9502}}
    assert render("{{ victoria_metrics_cost_targets }}", given) == []


def test_each_other_component_is_scraped_at_its_own_host(variables: dict[str, Any]) -> None:
    found = {
        job: render(f"{{{{ victoria_metrics_{job}_targets }}}}", variables)
        for job in ("master", "haproxy", "nginx", "postgresql", "service")
    }
    assert found == {
        "master": ["m1.lan:9507", "m2.lan:9507"],
        "haproxy": ["b1.lan:8405"],
        "nginx": ["w1.lan:8936"],
        "postgresql": ["d1.lan:9187"],
        "service": {
            "vmalert": "127.0.0.1:8880",
            "alertmanager": "127.0.0.1:9093",
            "grafana": "127.0.0.1:3000",
        },
    }
    without = render(
        "{{ victoria_metrics_service_targets }}", variables | {"grafana_enabled": "no"}
    )
    assert "grafana" not in without


def test_node_exporter_is_scraped_on_all_hosts_that_are_not_workers(
    variables: dict[str, Any],
) -> None:
    """Workers are found through the master."""
    given = variables | {"farm_exporter_ports": {"node": 9100}}
    given["hostvars"]["d1"]["node_exporter_enabled"] = "false"
    assert render("{{ victoria_metrics_node_targets }}", given) == {
        host: f"{host}.lan:9100" for host in ("b1", "m1", "m2", "o1")
    }
