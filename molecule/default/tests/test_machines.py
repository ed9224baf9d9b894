"""Units, their users and hardening, listening ports and file permissions of each machine."""

import re
from typing import Any

from deployed_farm import Machine

testinfra_hosts = ["ansible://all"]

UNITS = {
    "master": [
        "ffrtmp-master.service",
        "ffrtmp-exporter@results.service",
        "ffrtmp-exporter@qoe.service",
        "ffrtmp-exporter@cost.service",
        "ffrtmp-exporter@health.service",
        "ffrtmp-node-exporter.service",
    ],
    "worker": [
        "ffrtmp-agent@1.service",
        "ffrtmp-energy-reader.service",
        "ffrtmp-exporter@cpu.service",
        "ffrtmp-exporter@gpu.service",
        "ffrtmp-exporter@ffmpeg.service",
        "ffrtmp-node-exporter.service",
    ],
    "rtmp_server": ["ffrtmp-rtmp-server.service"],
    "monitoring": [
        "ffrtmp-victoria-metrics.service",
        "ffrtmp-vmalert.service",
        "ffrtmp-alertmanager.service",
        "ffrtmp-series-importer.service",
    ],
}
GROUP_UNITS = [(group, unit) for group, units in UNITS.items() for unit in units]
EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound
LOOPBACK = "127.0.0.1"
API_PORT = 8080
NODE_EXPORTER_PORT = 9100
RTMP_PORTS = (1935, 8936)
MAX_TASKS = 4096
LISTENERS = [
    ("master", EVERYWHERE, API_PORT),
    ("master", EVERYWHERE, 9502),
    ("master", EVERYWHERE, 9503),
    ("master", EVERYWHERE, 9504),
    ("master", EVERYWHERE, 9507),
    ("master", EVERYWHERE, 9600),
    ("master", EVERYWHERE, NODE_EXPORTER_PORT),
    ("worker", EVERYWHERE, NODE_EXPORTER_PORT),
    ("worker", EVERYWHERE, 9506),
    ("worker", EVERYWHERE, 9510),
    ("worker", EVERYWHERE, 9511),
    ("rtmp_server", EVERYWHERE, 1935),
    ("rtmp_server", EVERYWHERE, 8936),
    ("monitoring", LOOPBACK, 8428),
    ("monitoring", LOOPBACK, 8880),
    ("monitoring", LOOPBACK, 9093),
]
FILES = [
    ("master", "/etc/ffmpeg-rtmp/master.yml", "root", "ffrtmp-master", 0o640),
    ("master", "/etc/ffmpeg-rtmp/credentials.yml", "root", "ffrtmp-master", 0o640),
    ("master", "/etc/ffmpeg-rtmp/prices.json", "root", "ffrtmp-master", 0o640),
    ("master", "/etc/ffmpeg-rtmp/exporter.token", "root", "ffrtmp-exporter", 0o640),
    ("master", "/var/lib/ffmpeg-rtmp/master", "ffrtmp-master", "ffrtmp-master", 0o750),
    ("master", "/var/lib/ffmpeg-rtmp/master/farm.db", "ffrtmp-master", "ffrtmp-master", 0o640),
    ("monitoring", "/etc/ffmpeg-rtmp/series-importer.yml", "root", "ffrtmp-series", 0o640),
    ("monitoring", "/etc/ffmpeg-rtmp/series-importer.token", "root", "ffrtmp-series", 0o640),
    ("master", "/etc/ffmpeg-rtmp/components.yml", "root", "ffrtmp-exporter", 0o640),
    ("worker", "/etc/ffmpeg-rtmp/node-exporter.yml", "root", "ffrtmp-node-exporter", 0o640),
    ("worker", "/etc/ffmpeg-rtmp/agent.yml", "root", "ffrtmp-worker", 0o640),
    ("worker", "/etc/ffmpeg-rtmp/agent.token", "root", "ffrtmp-worker", 0o640),
    ("worker", "/var/lib/ffmpeg-rtmp/worker", "ffrtmp-worker", "ffrtmp-worker", 0o750),
    ("worker", "/opt/ffmpeg-rtmp/ffmpeg/under-test/ffmpeg", "root", "root", 0o755),
    *(
        (group, f"/etc/ffmpeg-rtmp/pki/{name}", "root", owners, mode)
        for group in ("master", "worker")
        for name, owners, mode in (
            ("ca.pem", "root", 0o644),
            ("host.pem", "root", 0o644),
            ("host.key", "ffrtmp-tls", 0o640),
        )
    ),
]


def rows_for(machine: Machine, table: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows of a table for the groups of a machine, without the group."""
    found = [rest for group, *rest in table if machine.is_in(group)]
    assert found
    return [tuple(rest) for rest in found]


def test_units_run_and_are_enabled(machine: Machine) -> None:
    for (unit,) in rows_for(machine, GROUP_UNITS):
        service = machine.host.service(unit)
        log = machine.host.check_output("journalctl --no-pager --unit %s --lines 50", unit)
        assert service.is_running, log
        assert service.is_enabled
        assert service.systemd_properties["User"] not in {"", "root"}


def test_units_are_hardened(machine: Machine) -> None:
    for (unit,) in rows_for(machine, GROUP_UNITS):
        most = 3.5 if unit.startswith("ffrtmp-agent@") else 2.0
        path = machine.host.service(unit).systemd_properties["FragmentPath"]
        # The analysis is offline, so that it ignores the drop-in files of the test machines.
        command = "systemd-analyze security --offline=true --no-pager %s"
        exposure = machine.host.check_output(command, path).splitlines()[-1]
        assert float(exposure.split(":")[1].split()[0]) <= most, exposure


def test_only_the_gpu_exporter_has_access_to_devices(machine: Machine) -> None:
    for (unit,) in rows_for(machine, GROUP_UNITS):
        if unit.startswith("ffrtmp-exporter@"):
            properties = machine.host.service(unit).systemd_properties
            has_devices = unit == "ffrtmp-exporter@gpu.service"
            assert properties["PrivateDevices"] == ("no" if has_devices else "yes"), unit
            assert properties["DevicePolicy"] == "closed", unit
            assert ("char-nvidia" in properties.get("DeviceAllow", "")) == has_devices, unit


def test_the_gpu_exporter_reports_a_missing_gpu(machine: Machine) -> None:
    if machine.is_in("worker"):
        answer = machine.request(f"https://{machine.address}:9511/metrics", certificate=True)
        assert re.search(r"^ffrtmp_gpu_available 0\.0$", answer.body, re.MULTILINE), answer.body
        assert 'ffrtmp_gpu_failure_info{reason="no_driver"} 1.0' in answer.body


def test_the_cpu_exporter_reports_the_usage_of_the_slot(machine: Machine) -> None:
    if machine.is_in("worker"):
        # The exporter needs cgroup v2; the host of the test machines may have cgroup v1, which
        # prepare.yml replaces for one worker.
        kind = machine.host.check_output("stat --file-system --format %T /sys/fs/cgroup")
        is_reported = kind == "cgroup2fs" or machine.variables["inventory_hostname"] == "worker1"
        body = machine.request(f"https://{machine.address}:9510/metrics", certificate=True).body
        for name in ("cpu_seconds_total{mode", "memory_bytes{slot", "memory_peak_bytes{slot"):
            assert (f"ffrtmp_slot_{name}=" in body) == is_reported, (name, kind)


def test_no_unit_failed(machine: Machine) -> None:
    assert machine.host.check_output("systemctl --failed --plain --no-legend") == ""


def test_ports_listen_only_on_their_addresses(machine: Machine) -> None:
    for address, port in rows_for(machine, LISTENERS):
        assert machine.host.socket(f"tcp://{address}:{port}").is_listening, port
        if address == LOOPBACK:
            assert not machine.host.socket(f"tcp://{machine.address}:{port}").is_listening


def test_files_have_their_owners_and_modes(machine: Machine) -> None:
    for path, user, owners, mode in rows_for(machine, FILES):
        found = machine.host.file(path)
        assert (path, found.user, found.group, oct(found.mode)) == (path, user, owners, oct(mode))


def test_services_cannot_change_their_programs(machine: Machine) -> None:
    command = "find /opt/ffmpeg-rtmp /etc/ffmpeg-rtmp ! -user root -o -perm /022 ! -type l"
    assert machine.host.check_output(command) == ""


def test_the_current_release_is_a_link_into_the_releases(machine: Machine) -> None:
    target = machine.host.file("/opt/ffmpeg-rtmp/current").linked_to
    assert target.startswith("/opt/ffmpeg-rtmp/releases/0.")
    assert machine.host.file(f"{target}/bin").is_directory


def test_no_token_is_in_a_unit_or_a_command_line(machine: Machine, operator: str) -> None:
    assert operator not in machine.host.check_output("systemctl show 'ffrtmp-*'")
    assert operator not in machine.host.check_output("ps -eww -o args,environ || ps -eww -o args")
    journal = machine.host.check_output("journalctl --no-pager --unit 'ffrtmp-*'")
    assert operator not in journal


def test_limits_reach_systemd(machine: Machine) -> None:
    for (unit,) in rows_for(machine, GROUP_UNITS):
        properties = machine.host.service(unit).systemd_properties
        assert int(properties["TasksMax"]) <= MAX_TASKS
        assert properties["NoNewPrivileges"] == "yes"


def test_exporters_require_a_certificate(machine: Machine, monitoring_host: Machine) -> None:
    for address, port in rows_for(machine, LISTENERS):
        if address == EVERYWHERE and port not in (API_PORT, *RTMP_PORTS):
            url = f"https://{machine.address}:{port}/metrics"
            # node_exporter accepts connections only from the hosts of the monitoring.
            client = monitoring_host if port == NODE_EXPORTER_PORT else machine
            assert client.request(url).status == 0
            answer = client.request(url, certificate=True)
            assert answer.status == 200
            assert "_build_info{" in answer.body
