"""The upgrade of one machine that is master, worker and monitoring host."""

import time

from deployed_farm import Machine
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

PROGRAMS = {
    "ffrtmp-master.service": "master",
    "ffrtmp-exporter@results.service": "master",
    "ffrtmp-exporter@health.service": "master",
    "ffrtmp-series-importer.service": "master",
    "ffrtmp-agent@1.service": "worker",
    "ffrtmp-exporter@cpu.service": "worker",
    "ffrtmp-exporter@gpu.service": "worker",
    "ffrtmp-exporter@ffmpeg.service": "worker",
}


def test_every_program_runs_from_the_current_release(host: Host) -> None:
    current = host.file("/opt/ffmpeg-rtmp/current").linked_to
    for unit, part in PROGRAMS.items():
        service = host.service(unit)
        assert service.is_running, unit
        command = host.file(f"/proc/{service.systemd_properties['MainPID']}/cmdline").content_string
        assert command.startswith(f"{current}/{part}/venv/bin/"), unit


def test_both_releases_are_installed(host: Host) -> None:
    assert len(host.file("/opt/ffmpeg-rtmp/releases").listdir()) == 2


READY = "https://box1:8080/readyz"


def test_a_client_without_a_certificate_is_rejected(host: Host) -> None:
    machine = Machine(host, host.ansible.get_variables())
    assert machine.request(READY, certificate=True).status == 200
    assert machine.request(READY).status == 0


def _query(host: Host, query: str) -> dict[tuple[tuple[str, str], ...], str]:
    url = f"https://127.0.0.1:8428/api/v1/query?query={query}"
    answer = Machine(host, host.ansible.get_variables()).request(url)
    assert answer.status == 200, answer.body
    found = answer.json()["data"]["result"]
    return {tuple(sorted(item["metric"].items())): item["value"][1] for item in found}


def test_every_scrape_and_exporter_presents_its_certificate(host: Host) -> None:
    """Check that every target is up again within a minute.

    The upgrade restarts the exporters, so the first scrapes may still fail.
    """
    for query, least in (("up", 7), ("ffrtmp_exporter_source_up", 1)):
        deadline_s = time.monotonic() + 60
        values = _query(host, query)
        while set(values.values()) != {"1"} and time.monotonic() < deadline_s:
            time.sleep(2)
            values = _query(host, query)
        assert len(values) >= least, values
        assert set(values.values()) == {"1"}, values


def test_no_unit_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
