"""Test of the first steps of joined-worker.yml, which need no machine: archive and settings."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest
import revocation_list
import trustme
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.ffrtmp import join_archive  # noqa: E402

pytestmark = pytest.mark.slow

PROGRAM = Path(sys.executable).with_name("ansible-playbook")
_COPIED = ("group_vars", "inventories/joined", "playbooks", "plugins", "roles", "library")
_PROBED = (
    "farm_master_url",
    "farm_address",
    "farm_mutual_tls",
    "farm_client_certificate_file",
    "worker_rtmp_url",
    "worker_rtmp_stat_url",
)
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project with the first play of joined-worker.yml, and a play that probes."""
    copy = tmp_path / "checkout"
    for name in _COPIED:
        shutil.copytree(ROOT / name, copy / name, symlinks=True)
    shutil.copytree(ROOT / "module_utils", copy / "module_utils")
    shutil.copy(ROOT / "ansible.cfg", copy)
    read, *_ = YAML(typ="safe").load(ROOT / "playbooks/joined-worker.yml")
    content = {name: f"{{{{ {name} }}}}" for name in _PROBED}
    probe = {
        "name": "Probe",
        "hosts": "worker",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Write the settings",
                "ansible.builtin.copy": {
                    "content": "{{ probed | to_json }}",
                    "dest": f"{copy}/{{{{ inventory_hostname }}}}.json",
                    "mode": "0600",
                },
                "vars": {"probed": content},
            }
        ],
    }
    (copy / "playbooks/probe.yml").write_text(json.dumps([read, probe]))
    return copy


def write_archive(folder: Path, node: str = "w3", days: int = 90) -> Path:
    """Write the archive of a node, whose certificate expires after some days."""
    authority = trustme.CA()
    issued = authority.issue_cert(
        "192.0.2.13",
        common_name=node,
        not_before=NOW - timedelta(days=100),
        not_after=NOW + timedelta(days=days),
    )
    revocation_list.write_list(authority, folder / "crl.pem")
    files = {
        "agent.token": b"a-token\n",
        "ca.pem": authority.cert_pem.bytes(),
        "crl.pem": (folder / "crl.pem").read_bytes(),
        "host.key": issued.private_key_pem.bytes(),
        "host.pem": issued.cert_chain_pems[0].bytes(),
    }
    settings = {
        "address": "192.0.2.13",
        "master_url": "https://192.0.2.10:8080",
        "mutual_tls": True,
        "rtmp_url": "rtmp://192.0.2.14:1935/live",
        "rtmp_stat_url": "https://192.0.2.14:8936/stat",
    }
    expires_at = (NOW + timedelta(days=days)).strftime(join_archive.TIME_FORMAT)
    archive = join_archive.JoinArchive(node, expires_at, settings, files)
    path = folder / f"{node}.tar"
    join_archive.write(path, join_archive.pack(archive))
    return path


def run(
    checkout: Path,
    archive: Path | None = None,
    *arguments: str,
    groups: dict[str, Sequence[str]] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the plays with an archive, by default with the inventory that has no hosts."""
    command: list[Any] = [PROGRAM, "-i", "inventories/joined", *arguments]
    if groups is not None:
        children = {
            group: {"hosts": {name: {"ansible_connection": "local"} for name in names}}
            for group, names in groups.items()
        }
        (checkout / "inventories/joined/60_hosts.yml").write_text(
            json.dumps({"all": {"children": children}})
        )
    if archive is not None:
        command += ["-e", json.dumps({"join_archive_file": str(archive)})]
    return subprocess.run(
        [*command, "playbooks/probe.yml"],
        cwd=checkout,
        env=os.environ
        | {
            "ANSIBLE_CONFIG": "ansible.cfg",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_this_computer_becomes_the_node_of_the_archive(checkout: Path, tmp_path: Path) -> None:
    archive = write_archive(tmp_path)
    done = run(checkout, archive)

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((checkout / "w3.json").read_text()) == {
        "farm_master_url": "https://192.0.2.10:8080",
        "farm_address": "192.0.2.13",
        "farm_mutual_tls": True,
        "farm_client_certificate_file": "/etc/ffmpeg-rtmp/pki/host.pem",
        "worker_rtmp_url": "rtmp://192.0.2.14:1935/live",
        "worker_rtmp_stat_url": "https://192.0.2.14:8936/stat",
    }
    # The files are stored, so that an upgrade needs no archive.
    archive.unlink()
    again = run(checkout)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "changed=0" in again.stdout.partition("PLAY RECAP")[2]


def test_the_archive_is_relative_to_the_working_directory(checkout: Path) -> None:
    archive = write_archive(checkout)
    done = run(checkout, archive.relative_to(checkout))

    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / ".secrets/joined/join/w3.json").exists()


def test_a_host_of_the_inventory_uses_its_archive(checkout: Path, tmp_path: Path) -> None:
    done = run(checkout, write_archive(tmp_path, "w7"), groups={"worker": ["w7"]})

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((checkout / "w7.json").read_text())["farm_address"] == "192.0.2.13"


def test_one_of_several_hosts_is_selected(checkout: Path, tmp_path: Path) -> None:
    groups = {"worker": ["w3", "w4"]}
    done = run(checkout, write_archive(tmp_path), "--limit", "w3,localhost", groups=groups)

    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in checkout.glob("w*.json")] == ["w3.json"]


@pytest.mark.parametrize(
    ("groups", "days", "message"),
    [
        ({"master": ["m1"], "worker": ["w3"]}, 90, "The inventory has the master m1"),
        (
            {"worker": ["w4"]},
            90,
            "The join archive is for w3, but the group worker of the inventory",
        ),
        ({"worker": ["w3", "w4"]}, 90, "No join archive is stored for w4."),
        (None, -1, "The archive of w3 expired at"),
        (None, None, "No join archive is stored. Create one on the control node of the farm"),
    ],
)
def test_a_worker_without_its_archive_is_refused(
    checkout: Path,
    tmp_path: Path,
    groups: dict[str, Sequence[str]] | None,
    days: int | None,
    message: str,
) -> None:
    archive = None if days is None else write_archive(tmp_path, days=days)

    refused = run(checkout, archive, groups=groups)

    assert refused.returncode != 0
    assert message in " ".join(refused.stdout.split())
    assert not list(checkout.glob("w*.json"))
