"""Tests that an inventory without a port for each exporter is refused."""

from typing import Any

from role_templates import ROOT, load_yaml, render


def problems(**ports: int) -> Any:
    """Return what is wrong with an inventory that has these ports of exporters."""
    variables = {
        **load_yaml(ROOT / "group_vars/all.yml"),
        **load_yaml(ROOT / "playbooks/vars/inventory_checks.yml"),
        "groups": {"master": ["m1"], "worker": ["w1"]},
        "hostvars": {"m1": {"farm_address": "m1"}},
    }
    if ports:
        variables["farm_exporter_ports"] = ports
    return render("{{ __farm_inventory_problems }}", variables)


def test_the_default_ports_are_complete() -> None:
    assert problems() == []


def test_an_inventory_of_an_earlier_release_is_refused() -> None:
    before = {"results": 1, "health": 2, "cpu": 3, "gpu": 4, "ffmpeg": 5, "docker_stats": 6}
    (problem,) = problems(**before)
    assert problem.startswith("farm_exporter_ports has no port for qoe and cost and node.")
