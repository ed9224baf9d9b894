"""A host that is master, worker and monitoring at once, after a new release."""

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


def test_nothing_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
