"""Tests of compose.yaml, .env and the inventory of the stack, without a container."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

BUILT = "localhost/ffmpeg-rtmp/"
_PINNED = r"[a-z0-9./-]+:[\w.-]*[0-9][\w.-]*@sha256:[0-9a-f]{64}"
# Only services of the stack use the other services, which publish no port.
PUBLISHED = {"master", "rtmp-server", "victoria-metrics", "vmalert", "alertmanager", "grafana"}


@pytest.fixture(scope="module")
def services(root: Path) -> dict[str, Any]:
    loaded = YAML(typ="safe").load((root / "compose.yaml").read_text())
    found: dict[str, Any] = loaded["services"]
    return found


@pytest.fixture(scope="module")
def versions(root: Path) -> dict[str, str]:
    lines = (root / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def settings(root: Path, group: str) -> dict[str, Any]:
    file = root / f"inventories/stack/group_vars/{group}/50_stack.yml"
    loaded: dict[str, Any] = YAML(typ="safe").load(file.read_text())
    return loaded


def test_every_service_is_restricted(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "pids_limit", "healthcheck", "restart"} <= set(service), name
        assert service["logging"]["options"]["max-size"], name
        assert "privileged" not in service, name
        assert "container_name" not in service, name


def test_no_service_waits_for_the_start_of_another(services: dict[str, Any]) -> None:
    """A restart of Docker starts the containers in any order."""
    assert [name for name, service in services.items() if "depends_on" in service] == []


def test_the_agent_has_no_quota(services: dict[str, Any]) -> None:
    assert services["agent"]["cpus"] == 0
    assert services["agent"]["init"] is True
    # systemd grants a deployed agent 60 s.
    assert int(services["agent"]["stop_grace_period"].removesuffix("s")) > 60


def test_ports_are_published_only_on_the_loopback_address(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "ports" in service} == PUBLISHED
    for name in PUBLISHED:
        for port in services[name]["ports"]:
            assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-[0-9]+\}:[0-9]+", port), port


def test_docker_creates_no_directory_in_place_of_missing_settings(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for volume in service["volumes"]:
            if isinstance(volume, dict):
                assert volume["read_only"] is True, name
                assert volume["bind"] == {"create_host_path": False}, name
            else:
                assert not volume.startswith("."), f"{name}: {volume} needs the long form"


def test_images_are_pinned_by_version_and_digest(
    root: Path, services: dict[str, Any], versions: dict[str, str]
) -> None:
    for name, service in services.items():
        if service["image"].startswith(BUILT):
            assert service["pull_policy"] == "never", name
            continue
        variable = re.fullmatch(r"\$\{([A-Z_]+):\?is set in \.env\}", service["image"])
        assert variable, name
        assert variable[1] in versions, name
    for name, value in versions.items():
        if name.endswith("_IMAGE"):
            assert re.fullmatch(_PINNED, value), name
    # No version is written anywhere else.
    assert set(re.findall(r"ARG ([A-Z_]+)", (root / "Containerfile").read_text())) == {
        name for name in versions if name not in ("COMPOSE_FILE", "GRAFANA_IMAGE", "CADVISOR_IMAGE")
    }


def test_an_image_gets_each_version_that_it_declares(root: Path, services: dict[str, Any]) -> None:
    """The arguments in front of the first stage, and those of each stage below it."""
    text = (root / "Containerfile").read_text()
    built = {
        s["build"]["target"]: set(s["build"]["args"]) for s in services.values() if "build" in s
    }
    assert set(built) == {"master", "worker", "services"}
    assert set().union(*built.values()) == set(re.findall(r"ARG ([A-Z_]+)", text))


@pytest.mark.parametrize(("group", "host"), [("master", "master1"), ("worker", "worker1")])
def test_every_exporter_is_a_service_with_settings(
    root: Path, services: dict[str, Any], group: str, host: str
) -> None:
    """An exporter has one entry in compose.yaml and one in the inventory, which must agree."""
    found = settings(root, group)
    listed = [
        entry
        for name in ("exporters_instances", "__stack_exporters", "__stack_container_exporters")
        if isinstance(found.get(name), list)
        for entry in found[name]
    ]
    ports = YAML(typ="safe").load((root / "group_vars/all.yml").read_text())["farm_exporter_ports"]
    mounted = f"./.state/stack/{host}/etc/ffmpeg-rtmp"
    running = {
        service["environment"]["EXPORTER"]: service["environment"]["PORT"]
        for service in services.values()
        if "EXPORTER" in service.get("environment", {})
        and any(isinstance(v, dict) and v["source"] == mounted for v in service["volumes"])
    }
    assert running == {entry["name"]: ports[entry["name"]] for entry in listed}
    for entry in listed:
        assert entry["port"] == f"{{{{ (farm_exporter_ports | as_dict).{entry['name']} }}}}"
        assert entry["name"].replace("_", "-") in services


def test_all_exporters_of_a_farm_are_part_of_the_stack(
    root: Path, services: dict[str, Any]
) -> None:
    ports = YAML(typ="safe").load((root / "group_vars/all.yml").read_text())["farm_exporter_ports"]
    running = {service.get("environment", {}).get("EXPORTER") for service in services.values()}
    # node_exporter is not a program of the farm.
    assert set(ports) - {"node"} == running - {None}
    assert "node-exporter" in services


def test_every_host_of_the_inventory_has_a_private_directory(
    root: Path, services: dict[str, Any]
) -> None:
    inventory = YAML(typ="safe").load((root / "inventories/stack/hosts.yml").read_text())
    hosts = {host for group in inventory["all"]["children"].values() for host in group["hosts"]}
    mounted = {
        volume["source"].split("/")[3]
        for service in services.values()
        for volume in service["volumes"]
        if isinstance(volume, dict) and volume["source"].startswith("./.state/stack/")
    }
    assert mounted == hosts


def test_git_ignores_what_the_stack_generates(root: Path) -> None:
    ignored = (root / ".gitignore").read_text().splitlines()
    assert {"/.state/", "/.secrets/", "/.cache/"} <= set(ignored)
    secret = re.compile(r"password|token|secret|key", re.IGNORECASE)
    lines = (root / ".env").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#") and secret.search(line)] == []
