"""Test that site.yml deploys every kind of inventory, in check mode on new hosts.

The paths that it would change must be listed in docs/deployment.md.
"""

from pathlib import Path
from typing import Any

import pytest
from deployment_page import is_listed, listed_paths
from unbooted_host import check_playbook

pytestmark = pytest.mark.slow

_ADDRESSES = {"m1": 11, "w1": 12, "s1": 13}
_OPTIONAL = ("monitoring", "postgresql", "load_balancer", "rtmp_server")
_PLAYS = {
    "master": "Deploy the masters",
    "worker": "Deploy the workers",
    "monitoring": "Deploy the monitoring",
    "postgresql": "Deploy PostgreSQL",
    "load_balancer": "Deploy the load balancers",
    "rtmp_server": "Deploy the RTMP server",
}


def hosts(*names: str) -> dict[str, Any]:
    return {"hosts": {name: {"ansible_host": f"192.0.2.{_ADDRESSES[name]}"} for name in names}}


_FARM = {
    "master": hosts("m1"),
    "worker": hosts("w1"),
    "monitoring": hosts("m1"),
    "postgresql": hosts("s1"),
    "load_balancer": hosts("s1"),
    "rtmp_server": hosts("s1"),
}
_SMALLEST = {"master": hosts("m1"), "worker": hosts("w1")}
_INVENTORIES: dict[str, dict[str, Any]] = {
    "all groups": _FARM,
    **{
        f"without {absent}": {name: group for name, group in _FARM.items() if name != absent}
        for absent in _OPTIONAL
    },
    "no optional group": _SMALLEST,
    "empty groups": {**_SMALLEST, **dict.fromkeys(_OPTIONAL)},
    "master and worker on one host": {"master": hosts("m1"), "worker": hosts("m1")},
    "control node as master": {
        "master": {"hosts": {"localhost": {"farm_address": "192.0.2.11"}}},
        "worker": hosts("w1"),
    },
    "workers of other inventories": {"master": hosts("m1")},
}


# Each check takes half a minute. make test-farm deploys farms with all groups and with few of them.
_NOT_DEEP = ("control node as master",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in _NOT_DEEP else [pytest.mark.deep])
        for name in _INVENTORIES
    ],
)
def test_site_deploys(root: Path, tmp_path: Path, name: str) -> None:
    groups = _INVENTORIES[name]
    checked = check_playbook(
        root,
        tmp_path,
        "site.yml",
        groups,
        # Grafana's repository is not part of Debian, so its package is unknown without a network.
        grafana_enabled=False,
        farm_workers_join="worker" not in groups,
    )
    assert checked.failures == []
    deployed = {group: checked.plays.get(play, set()) for group, play in _PLAYS.items()}
    assert deployed == {
        group: set((groups.get(group) or {"hosts": {}})["hosts"]) for group in _PLAYS
    }
    assert not (tmp_path / "secrets").exists()
    on_control_node = (f"{tmp_path}/", f"{root}/.cache/")
    written = {path for path in checked.changed_paths if not path.startswith(on_control_node)}
    assert len(written) > 20
    listed = listed_paths(root)
    assert [path for path in sorted(written) if not is_listed(path, listed)] == []


def test_certificates_are_renewed_without_optional_groups(root: Path, tmp_path: Path) -> None:
    playbook = "playbooks/renew-certificates.yml"
    checked = check_playbook(root, tmp_path, playbook, _SMALLEST)
    assert checked.failures == []
    assert checked.plays["Renew and revoke certificates"] == {"m1", "w1"}
