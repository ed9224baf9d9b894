"""The farm on a minimal host with umask 077, a linked installation directory and a broken proxy."""

import re

from deployed_farm import ROOT, run_playbook
from testinfra.host import Host

testinfra_hosts = ["ansible://master"]

INVENTORY = ROOT / "molecule/unusual/inventory"


def test_the_agent_is_registered(host: Host) -> None:
    status = host.service("ffrtmp-agent@1.service").systemd_properties["StatusText"]
    assert status.startswith("registered with https://")


def test_directories_of_others_are_unchanged(host: Host) -> None:
    scratch = host.file("/scratch")
    assert (scratch.user, scratch.mode) == ("root", 0o1777)
    assert host.file("/scratch/ffrtmp").user == "ffrtmp-worker"
    assert host.file("/opt/ffmpeg-rtmp").linked_to == "/srv/programs"


def test_the_services_can_read_the_release(host: Host) -> None:
    assert (
        host.run("runuser --user daemon -- /opt/ffmpeg-rtmp/current/bin/ffrtmp-agent --version").rc
        == 0
    )


def test_the_host_is_unusual(host: Host) -> None:
    assert not host.exists("sudo")
    assert "127.0.0.1:9" in host.file("/etc/environment").content_string


def test_the_data_directory_is_not_changed_unnoticed(host: Host) -> None:
    before = host.service("ffrtmp-agent@1.service").systemd_properties["InvocationID"]
    changed = run_playbook(INVENTORY, "site.yml", "-e", "worker_data_dir=/scratch/other")
    assert changed.returncode != 0
    assert "the host was deployed with /scratch/ffrtmp" in " ".join(changed.stdout.split())
    assert set(re.findall(r"changed=(\d+)", changed.stdout)) == {"0"}
    assert host.service("ffrtmp-agent@1.service").systemd_properties["InvocationID"] == before
