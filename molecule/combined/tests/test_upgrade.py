"""A host that is master, worker and monitoring at once, after a new release."""

import json

from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

PROGRAMS = {
    "ffrtmp-master.service": "master",
    "ffrtmp-exporter@results.service": "master",
    "ffrtmp-exporter@health.service": "master",
    "ffrtmp-agent@1.service": "worker",
    "ffrtmp-exporter@cpu.service": "worker",
    "ffrtmp-exporter@ffmpeg.service": "worker",
}


def test_every_program_runs_from_the_current_release(host: Host) -> None:
    current = host.file("/opt/ffmpeg-rtmp/current").linked_to
    for unit, part in PROGRAMS.items():
        service = host.service(unit)
        assert service.is_running, unit
        command = host.file(f"/proc/{service.systemd_properties['MainPID']}/cmdline").content_string
        assert command.startswith(f"{current}/{part}/venv/bin/"), unit


def test_both_releases_are_there(host: Host) -> None:
    assert len(host.file("/opt/ffmpeg-rtmp/releases").listdir()) == 2


PKI = "/etc/ffmpeg-rtmp/pki"
READY = f"curl --silent --show-error --cacert {PKI}/ca.pem https://box1:8080/readyz"


def test_who_shows_no_certificate_is_not_heard(host: Host) -> None:
    assert host.run(f"{READY} --fail").rc != 0
    shown = host.run(f"{READY} --cert {PKI}/host.pem --key {PKI}/host.key --fail")
    assert shown.rc == 0, shown.stderr


def test_everything_of_the_farm_shows_its_certificate(host: Host) -> None:
    """The agent came through, or the play had not ended; the scrapes and exporters here."""
    query = (
        f"curl --silent --fail --cacert {PKI}/ca.pem --cert {PKI}/host.pem --key {PKI}/host.key"
        " 'https://127.0.0.1:8428/api/v1/query?query=%s'"
    )
    for asked, least in (("up", 7), ("ffrtmp_health_exporter_up", 1)):
        found = json.loads(host.check_output(query % asked))["data"]["result"]
        values = {tuple(sorted(one["metric"].items())): one["value"][1] for one in found}
        assert len(values) >= least, values
        assert set(values.values()) == {"1"}, values


def test_nothing_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
