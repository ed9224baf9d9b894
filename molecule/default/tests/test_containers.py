"""The exporter of container metrics, on a worker with a Docker Engine and on one without."""

import re
import time

from deployed_farm import Machine

testinfra_hosts = ["ansible://worker"]

UNIT = "ffrtmp-exporter@docker_stats.service"
NAME = "ffrtmp-test-busy"
PAUSE_S = 8
IMPORT = "tar --create --directory=/usr/bin busybox | docker import - ffrtmp-test"
RUN = f"docker run --detach --network none --name {NAME} ffrtmp-test /busybox sh -c"


def has_engine(machine: Machine) -> bool:
    return bool(machine.variables.get("farm_docker_stats"))


def scrape(machine: Machine) -> str:
    # The exporter polls the engine every few seconds.
    time.sleep(PAUSE_S)
    answer = machine.request(f"https://{machine.address}:9501/metrics", certificate=True)
    assert answer.status == 200, answer.body
    return answer.body


def test_the_exporter_runs_only_where_it_is_enabled(machine: Machine) -> None:
    service = machine.host.service(UNIT)
    assert service.is_running == has_engine(machine)
    assert service.is_enabled == has_engine(machine)
    if has_engine(machine):
        properties = service.systemd_properties
        assert properties["SupplementaryGroups"] == "ffrtmp-tls docker"
        assert properties["PrivateDevices"] == "yes"


def test_a_container_is_reported_until_it_is_removed(machine: Machine) -> None:
    if not has_engine(machine):
        return
    machine.host.run(f"docker rm --force {NAME}")
    machine.host.check_output(IMPORT)
    machine.host.check_output("%s %%s" % RUN, "while :; do :; done")  # noqa: UP031 testinfra quotes
    try:
        body = scrape(machine)
    finally:
        machine.host.check_output(f"docker rm --force {NAME}")
    assert "ffrtmp_docker_up 1.0" in body
    assert f'ffrtmp_docker_container_state{{container="{NAME}",state="running"}} 1.0' in body
    used = re.search(
        rf'^ffrtmp_docker_container_cpu_seconds_total\{{container="{NAME}",mode="user"\}} (\S+)$',
        body,
        re.MULTILINE,
    )
    assert used, body
    assert float(used.group(1)) > 0.1
    assert NAME not in scrape(machine)
