"""Tests of the load balancers that the masters exempt from limits for each client address."""

from collections.abc import Mapping
from typing import Any

from role_templates import ROOT, load_yaml, render


def _parameters() -> Mapping[str, Any]:
    """Return the parameters with which the playbook calls the role master."""
    (play,) = load_yaml(ROOT / "playbooks/master.yml")
    return next(role["vars"] for role in play["roles"] if role["role"] == "master")


def _trusted_proxies(inventory: Mapping[str, Any], found: Mapping[str, str]) -> list[str]:
    """Return the trusted proxies in the settings of a master.

    Args:
        inventory: The variables of the inventory, which parameters of the role override.
        found: The addresses of the names that are resolved.
    """
    role = ROOT / "roles/master"
    variables = {
        **load_yaml(ROOT / "roles/master/defaults/main.yml"),
        **inventory,
        **load_yaml(role / "vars/main.yml"),
        **_parameters(),
        "groups": {"load_balancer": ["lb1"]},
        "hostvars": {"lb1": {"farm_address": "lb1.test"}},
    }
    (resolve,) = (
        task["loop"]
        for task in load_yaml(role / "tasks/configure.yml")
        if task.get("register") == "__master_found_proxies"
    )
    names = render(resolve, variables)
    variables["__master_found_proxies"] = {
        "results": [{"stdout_lines": [f"{found[name]}  STREAM {name}"]} for name in names]
    }
    proxies: list[str] = render("{{ __master_settings_always.trusted_proxies }}", variables)
    return proxies


def test_the_load_balancers_of_the_operator_are_added_to_those_of_the_farm() -> None:
    inventory = {"master_trusted_proxies": ["192.0.2.0/24", "proxy.test"]}
    found = {"lb1.test": "10.0.0.1", "proxy.test": "10.0.0.2"}
    assert _trusted_proxies(inventory, found) == ["10.0.0.1", "10.0.0.2", "192.0.2.0/24"]


def test_the_load_balancers_of_the_farm_are_trusted_without_a_setting() -> None:
    assert _trusted_proxies({}, {"lb1.test": "10.0.0.1"}) == ["10.0.0.1"]
