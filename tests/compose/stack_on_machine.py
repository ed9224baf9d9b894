"""Test of the stack of compose.yaml on a machine that runs Docker (`make test-compose`).

The tests run in the order of this file, on one stack. pytest collects this file only when it is
named, because it boots a machine, builds images and takes about half an hour.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from polling import wait_until

from .machine_with_docker import ROOT, Machine, run, running_machine

STARTED_MAX_S = 180.0
OURS = "localhost/ffmpeg-rtmp/"
PREFIX = os.environ.get("FFRTMP_COMPOSE_PREFIX", "ffrtmp-compose")
WITHOUT_MASTER = ["master", "victoria-metrics", "alertmanager", "rtmp-server"]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine on which the images of the stack are built."""
    for directory in (".state/stack", ".secrets/stack"):
        assert not (ROOT / directory).exists(), f"{directory} exists: run `make down` first"
    with running_machine(PREFIX) as booted:
        try:
            yield booted
        finally:
            booted.make("down")


def _wait_for(machine: Machine, expression: str) -> None:
    """Wait until a query of VictoriaMetrics has a result; the scrape interval is 15 s."""
    wait_until(lambda: machine.query(expression), f"no result of {expression}", interval_s=3)


def _wait_for_health(machine: Machine, expected: dict[str, str], timeout_s: float) -> None:
    """Wait until services have the expected states of health; Docker checks it every 10 s."""
    wait_until(
        lambda: expected.items() <= machine.health().items(),
        lambda: f"the states are {machine.health()}",
        interval_s=2,
        timeout_s=timeout_s,
    )


def _encoders(results: Path) -> Counter[str]:
    """Return the number of results of each encoder."""
    found = json.loads(results.read_text())["results"]
    return Counter(result["scenario"]["encode"]["encoder"] for result in found)


def test_all_services_are_healthy_in_time_once_the_images_are_built(machine: Machine) -> None:
    machine.make("up-build")
    machine.make("down", "KEEP=1")
    assert machine.docker("ps", "--all", "--quiet") == ""
    started = time.monotonic()
    machine.make("up")
    took_s = time.monotonic() - started
    states = machine.health()
    assert set(states.values()) == {"healthy"}, states
    assert took_s < STARTED_MAX_S, f"the services were healthy after {took_s:.0f} s"


def test_containers_have_no_rights_that_they_do_not_need(machine: Machine) -> None:
    for name, found in machine.containers().items():
        host, config = found["HostConfig"], found["Config"]
        assert host["ReadonlyRootfs"] is True, name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["LogConfig"]["Config"]["max-size"], name
        assert host["RestartPolicy"]["Name"] == "unless-stopped", name
        assert not host["Privileged"], name
        assert config["User"] not in ("", "0", "root"), name
        for binding in (host["PortBindings"] or {}).values():
            assert {entry["HostIp"] for entry in binding} == {"127.0.0.1"}, name


def test_the_agent_has_cpus_of_its_own_and_no_quota(machine: Machine) -> None:
    containers = machine.containers()
    agent = containers.pop("agent")["HostConfig"]
    assert agent["Init"] is True
    assert (agent["NanoCpus"], agent["CpuQuota"]) == (0, 0)
    assert agent["CpusetCpus"]
    assert agent["CpusetCpus"] not in {
        found["HostConfig"]["CpusetCpus"] for found in containers.values()
    }


def test_only_loopback_ports_are_open(machine: Machine) -> None:
    """Docker's own rules would bypass a firewall of the host."""
    listening = machine.run("ss", "--no-header", "--listening", "--tcp", "--numeric").splitlines()
    found = {line.split()[3].rpartition(":")[::2] for line in listening}
    ports = {"8080", "8428", "8880", "9093", "3000", "1935", "8936"}
    assert {(address, port) for address, port in found if port in ports} == {
        ("127.0.0.1", port) for port in ports
    }


def test_no_secret_is_in_the_settings_of_a_container(machine: Machine) -> None:
    inspected = json.dumps(machine.containers())
    for token in (ROOT / ".secrets/stack/tokens").iterdir():
        assert token.read_text().strip() not in inspected, token.name


def test_victoria_metrics_scrapes_every_service(machine: Machine) -> None:
    jobs = {"master", "results", "qoe", "cost", "health", "cpu", "gpu", "ffmpeg", "node", "nginx"}
    jobs |= {"victoria_metrics", "vmalert", "alertmanager", "grafana"}
    for job in jobs:
        _wait_for(machine, f'up{{job="{job}"}} == 1')
    assert machine.query("up == 0") == []
    assert machine.query("ffrtmp_scrape_collector_success == 0") == []
    # The exporter health checks all services that listen.
    checked = "count(ffrtmp_probe_success == 1) >= 15 unless count(ffrtmp_probe_success == 0) > 0"
    _wait_for(machine, checked)
    _wait_for(machine, 'ALERTS{alertname="Watchdog", alertstate="firing", farm="stack"}')


def test_services_survive_that_their_dependencies_are_not_up_yet(machine: Machine) -> None:
    machine.run("docker", "compose", "stop")
    others = sorted(set(machine.containers()) - set(WITHOUT_MASTER))
    machine.run("docker", "compose", "start", *others)
    logged = "did not answer"
    wait_until(
        lambda: logged in machine.run("docker", "compose", "logs", "--since", "2m", "agent"),
        "the agent does not report that the master is missing",
        interval_s=2,
    )
    containers = machine.containers()
    for name in others:
        assert containers[name]["State"]["Running"], name
        assert containers[name]["RestartCount"] == 0, name
    # The stopped services start, and all become healthy without a restart of the others.
    machine.make("up")
    assert {found["RestartCount"] for found in machine.containers().values()} == {0}


def test_a_service_that_does_not_answer_is_unhealthy(machine: Machine) -> None:
    machine.run("docker", "compose", "exec", "-T", "vmalert", "sh", "-c", "kill -STOP -1")
    _wait_for_health(machine, {"vmalert": "unhealthy"}, 90)
    machine.run("docker", "compose", "restart", "--timeout", "1", "vmalert")
    _wait_for_health(machine, {"vmalert": "healthy"}, 60)


def test_a_restart_of_docker_restarts_all_services(machine: Machine) -> None:
    """Docker restarts containers in any order, and does not observe `depends_on`."""
    names = set(machine.containers())
    machine.run("systemctl", "restart", "docker")
    _wait_for_health(machine, dict.fromkeys(names, "healthy"), STARTED_MAX_S)


def test_the_suite_of_the_demo_ends_with_results(machine: Machine, tmp_path: Path) -> None:
    """The modules run on the machine, because its ports are published only there."""
    inventory = tmp_path / "machine.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {"master1": machine.connection()}}}))
    command = ["ansible-playbook", "-i", "inventories/stack", "-i", str(inventory)]
    run([*command, "run-benchmark.yml", "-e", f"farm_results_dir={tmp_path}/results"])
    (results,) = (tmp_path / "results").glob("[0-9]*/results.json")
    assert _encoders(results) == {"libx264": 4, "libx265": 4, "libsvtav1": 4}
    # The series of the results arrive in VictoriaMetrics, as on a deployed farm.
    _wait_for(machine, 'ffrtmp_result_speed_ratio{node="worker1"}')


def test_a_profile_that_is_enabled_later_is_scraped(machine: Machine) -> None:
    group = machine.run("stat", "--format=%g", "/run/docker.sock").strip()
    machine.make("up", COMPOSE_PROFILES="docker_stats", DOCKER_GROUP_ID=group)
    _wait_for(machine, 'up{job="docker_stats"} == 1 and on(instance) ffrtmp_docker_up == 1')
    (agent,) = machine.query('ffrtmp_docker_container_info{container="ffmpeg-rtmp-agent-1"}')
    assert agent["metric"]["node"] == "worker1"


def test_down_leaves_nothing_behind(machine: Machine) -> None:
    machine.make("down")
    assert machine.docker("ps", "--all", "--quiet") == ""
    assert machine.docker("volume", "ls", "--quiet") == ""
    networks = machine.docker("network", "ls", "--format", "{{.Name}}").split()
    assert sorted(networks) == ["bridge", "host", "none"]
    images = machine.docker("image", "ls", "--format", "{{.Repository}}").split()
    assert [image for image in images if image.startswith(OURS)] == []
    # Images of former builds have no name.
    assert machine.docker("image", "ls", "--quiet", "--filter", "dangling=true") == ""
    for directory in (".state/stack", ".secrets/stack"):
        assert not (ROOT / directory).exists()
