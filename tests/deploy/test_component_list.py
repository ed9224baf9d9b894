"""Tests of the list of components that the playbooks install for the exporter health."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ffrtmp_master.exporters.components import Component, ComponentFile, ProbeKind
from role_templates import load_yaml

pytestmark = pytest.mark.slow

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

_FARM = {
    "master": ["m1", "m2"],
    "load_balancer": ["b1"],
    "postgresql": ["b1"],
    "monitoring": ["mon1"],
    "rtmp_server": ["w2"],
    "worker": ["w1", "w2"],
}
_COMBINED = {"master": ["m1"], "monitoring": ["m1"], "worker": ["w1"]}
_VERSIONS = ["haproxy=2.6.12-1+deb12u4", "prometheus-node-exporter=1.5.0-1+b6", "grafana="]


def component_files(
    root: Path, folder: Path, groups: dict[str, list[str]], **variables: Any
) -> dict[str, ComponentFile]:
    """Return the list of each master and monitoring host, as the exporter health loads it."""
    inventory = folder / "inventory"
    shutil.copytree(root / "group_vars", inventory / "group_vars")
    hosts = sorted({host for members in groups.values() for host in members})
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    children = {
        group: {
            "hosts": {host: {"ansible_host": f"{host}.example", **variables} for host in members}
        }
        for group, members in groups.items()
    }
    document = {"all": {"vars": local, "children": children}}
    (inventory / "hosts.yml").write_text(json.dumps(document))
    shutil.copytree(root / "playbooks/vars", folder / "playbooks/vars")
    plays = [
        {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                {
                    "ansible.builtin.set_fact": {
                        "__farm_package_versions": {"stdout_lines": _VERSIONS}
                    }
                }
            ],
        },
        {
            "hosts": "master:monitoring",
            "gather_facts": False,
            "vars_files": ["vars/components.yml"],
            "tasks": [
                {
                    "ansible.builtin.template": {
                        "src": str(root / "roles/exporters/templates/components.yml.j2"),
                        "dest": f"{folder}/{{{{ inventory_hostname }}}}.yml",
                        "mode": "0644",
                    },
                    "vars": {
                        "exporters_components": "{{ __farm_components }}",
                        "exporters_node_exporter_versions": "{{ __farm_node_exporter_versions }}",
                    },
                }
            ],
        },
    ]
    (folder / "playbooks/probe.yml").write_text(json.dumps(plays))
    done = subprocess.run(
        [ANSIBLE, "--inventory", inventory, "playbooks/probe.yml"],
        cwd=folder,
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = {host: folder / f"{host}.yml" for host in hosts}
    return {host: ComponentFile(file) for host, file in files.items() if file.exists()}


def components(
    root: Path, folder: Path, groups: dict[str, list[str]], **variables: Any
) -> dict[str, tuple[Component, ...]]:
    """Return the components in the list of each host."""
    found = component_files(root, folder, groups, **variables)
    return {host: file.components() for host, file in found.items()}


def instances(found: tuple[Component, ...]) -> set[tuple[str, str]]:
    return {(component.component, component.instance) for component in found}


@pytest.fixture(scope="module")
def files(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ComponentFile]:
    return component_files(root, tmp_path_factory.mktemp("farm"), _FARM)


@pytest.fixture
def farm(files: dict[str, ComponentFile]) -> dict[str, tuple[Component, ...]]:
    return {host: file.components() for host, file in files.items()}


def test_a_master_checks_all_components_that_it_can_reach(
    farm: dict[str, tuple[Component, ...]],
) -> None:
    expected = {
        ("master", "m1.example:8080"),
        ("master", "m1.example:9507"),
        ("results", "m2.example:9502"),
        ("health", "m2.example:9600"),
        ("health", "mon1.example:9601"),
        ("haproxy", "b1.example:8405"),
        ("nginx", "w2.example:8936"),
        ("postgresql", "b1.example:5432"),
        ("postgresql_exporter", "b1.example:9187"),
        ("node", "m1.example:9100"),
        ("node", "mon1.example:9100"),
    }
    found = instances(farm["m1"])
    assert expected <= found
    assert farm["m1"] == farm["m2"]
    assert len(found) == len(farm["m1"])
    # The registry of the master contains the exporters of workers.
    assert not any(
        component.node in _FARM["worker"] and component.component != "nginx"
        for component in farm["m1"]
    )
    # Services that listen on the loopback interface of another host are not reachable.
    assert not {"victoria_metrics", "vmalert", "alertmanager", "grafana"} & {
        component.component for component in farm["m1"]
    }


def test_a_monitoring_host_checks_its_own_services(
    farm: dict[str, tuple[Component, ...]],
) -> None:
    assert instances(farm["mon1"]) == {
        ("victoria_metrics", "mon1:8428"),
        ("vmalert", "mon1:8880"),
        ("alertmanager", "mon1:9093"),
        ("grafana", "mon1:3000"),
    }
    assert {component.host for component in farm["mon1"]} == {"127.0.0.1"}


def test_the_versions_are_those_of_the_packages(farm: dict[str, tuple[Component, ...]]) -> None:
    versions = {component.component: component.version for component in farm["m1"]}
    assert versions["haproxy"] == "2.6.12-1+deb12u4"
    assert versions["node"] == "1.5.0-1+b6"
    # The programs of the farm have the release of the exporter.
    assert versions["master"] == versions["results"] == ""


def test_a_master_knows_the_versions_of_node_exporter_on_the_workers(
    files: dict[str, ComponentFile],
) -> None:
    """The workers themselves are found in the registry."""
    version = "1.5.0-1+b6"
    expected = dict.fromkeys(_FARM["worker"], version)
    assert {host: file.node_exporter_versions() for host, file in files.items()} == {
        "m1": expected,
        "m2": expected,
        "mon1": {},
    }


def test_a_master_with_the_monitoring_checks_everything(root: Path, tmp_path: Path) -> None:
    found = components(
        root, tmp_path, _COMBINED, grafana_enabled=False, node_exporter_enabled=False
    )
    assert set(found) == {"m1"}
    names = {component.component for component in found["m1"]}
    assert {"master", "health", "victoria_metrics", "vmalert", "alertmanager"} <= names
    assert not {"grafana", "node"} & names
    assert ("health", "m1.example:9601") not in instances(found["m1"])


def test_a_farm_with_an_existing_database_checks_vmagent(root: Path, tmp_path: Path) -> None:
    found = components(
        root,
        tmp_path,
        _COMBINED,
        farm_metrics_write_urls=["https://db.example/api/v1/write"],
        farm_metrics_query_url="https://db.example",
    )
    services = {service.component: service for service in found["m1"]}
    assert services["vmagent"].instance == "m1:8429"
    assert services["vmagent"].probe is ProbeKind.METRICS
    assert "victoria_metrics" not in services


def test_the_role_accepts_all_kinds_of_checks(root: Path) -> None:
    specs = load_yaml(root / "roles/exporters/meta/argument_specs.yml")["argument_specs"]
    options = specs["components"]["options"]["exporters_components"]["options"]
    assert set(options["probe"]["choices"]) == set(ProbeKind)
    assert set(options) == set(Component.__struct_fields__)
