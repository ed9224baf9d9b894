"""The role grafana up to the installation of the package, from a repository with a stand-in."""

import base64
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed_farm import ROOT, Machine
from role_templates import load_yaml
from signed_repository import build_repository

from .conftest import run_playbook

testinfra_hosts = ["ansible://monitoring"]

FOLDER = "/srv/ffrtmp-test-grafana"
VERSION = load_yaml(ROOT / "roles/grafana/defaults/main.yml")["grafana_version"]
FILES = (
    "/etc/apt/sources.list.d/grafana.sources",
    "/etc/apt/preferences.d/grafana",
    "/etc/apt/keyrings/grafana.asc",
    "/var/cache/ffmpeg-rtmp/grafana.asc",
)

_UNPACK = """
import base64, io, sys, tarfile
with tarfile.open(fileobj=io.BytesIO(base64.b64decode(sys.argv[1]))) as archive:
    archive.extractall(sys.argv[2])
"""


@pytest.fixture
def fingerprint(machine: Machine, tmp_path: Path) -> Iterator[str]:
    """The fingerprint of the key of a repository on the machine, which also has a newer version."""
    repository = tmp_path / "repository"
    found = build_repository(repository, "grafana", [VERSION, f"9{VERSION}"])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(repository, arcname=".")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    machine.host.check_output("python3 -c %s %s %s", _UNPACK, encoded, FOLDER)
    machine.host.check_output("chmod -R a+rX %s", FOLDER)
    yield found
    machine.host.check_output("dpkg --purge grafana")
    machine.host.check_output(f"rm -rf {FOLDER} {' '.join(FILES)}")


def install(fingerprint: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "grafana_enabled": True,
        "grafana_admin_password": "not used by the installation",
        "grafana_secret_key": "not used by the installation",
        "grafana_repository_url": f"file:{FOLDER}",
        "grafana_repository_key_url": f"file://{FOLDER}/key.asc",
        "grafana_repository_key_fingerprint": fingerprint,
    }
    arguments = ("--tags", "grafana_install", "--extra-vars", json.dumps(settings))
    return run_playbook("playbooks/monitoring.yml", *arguments)


def test_only_the_pinned_version_and_the_pinned_key_are_installed(
    machine: Machine, fingerprint: str
) -> None:
    refused = install(fingerprint[::-1])
    assert refused.returncode != 0
    assert fingerprint in refused.stdout
    assert not machine.host.file("/etc/apt/keyrings/grafana.asc").exists
    assert not machine.host.package("grafana").is_installed

    done = install(fingerprint)
    assert done.returncode == 0, done.stdout
    assert machine.host.package("grafana").version == VERSION
    # A later upgrade of the system keeps the version.
    policy = machine.host.check_output("apt-cache policy grafana")
    assert f"Candidate: {VERSION}\n" in policy

    again = install(fingerprint)
    assert again.returncode == 0, again.stdout
    assert all("changed=0" in line for line in again.stdout.splitlines() if " unreachable=" in line)
