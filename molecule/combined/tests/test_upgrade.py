"""The upgrade of one machine that is master, worker and monitoring host."""

import time

import removed_host
from deployed_farm import ROOT, Machine, run_playbook
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

PROGRAMS = {
    "ffrtmp-master.service": "master",
    "ffrtmp-exporter@results.service": "master",
    "ffrtmp-exporter@qoe.service": "master",
    "ffrtmp-exporter@cost.service": "master",
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


def test_the_master_rejects_a_removed_host(host: Host) -> None:
    """With mutual TLS, the master reads the revocation list as well."""
    machine = Machine(host, host.ansible.get_variables())
    removed_host.check_revocation(
        machine,
        ROOT / ".secrets/combined/pki",
        [READY, "https://box1:9502/metrics", "https://box1:9510/metrics"],
        lambda *arguments: run_playbook(ROOT / "molecule/combined/inventory", *arguments),
    )


def test_ffmpeg_cannot_read_the_token_of_the_exporters(host: Host) -> None:
    """FFmpeg runs with the user and all groups of the agent."""
    agent = host.service("ffrtmp-agent@1.service").systemd_properties["MainPID"]
    status = host.file(f"/proc/{agent}/status").content_string
    fields = dict(line.split(":", 1) for line in status.splitlines())
    user, group = fields["Uid"].split()[0], fields["Gid"].split()[0]
    groups = ",".join(fields["Groups"].split())
    as_ffmpeg = f"setpriv --reuid {user} --regid {group} --groups {groups}"
    for path in ("exporter.token", "exporter-results.yml", "master.yml", "credentials.yml"):
        read = host.run(f"{as_ffmpeg} cat /etc/ffmpeg-rtmp/{path}")
        assert read.rc != 0, path
        assert "Permission denied" in read.stderr
    for path in (
        "/run/ffrtmp-exporter-ffmpeg/progress.sock",
        "/run/ffrtmp-energy-reader/energy.sock",
    ):
        assert host.run(f"{as_ffmpeg} test -w {path}").rc == 0, path
