"""Tests that the roles change only directories that belong to the farm."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from role_templates import load_yaml, render

pytestmark = pytest.mark.slow


def tmpfiles(root: Path, groups: list[str], **variables: Any) -> str:
    """Return the list of directories that the role common installs for a host in these groups."""
    layout = load_yaml(root / "playbooks/vars/host_layout.yml")
    select = "{{ groups_of_host | map('extract', __farm_directories) | flatten | unique }}"
    directories = render(select, layout | variables | {"groups_of_host": groups})
    template = (root / "roles/common/templates/tmpfiles.conf.j2").read_text()
    empty: dict[str, Any] = {"common_obsolete_paths": [], "common_masked_units": []}
    return str(render(template, empty | {"common_directories": directories}, is_file=True))


def attributes(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return (status.st_mode & 0o7777, status.st_uid, status.st_gid)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change owners")
@pytest.mark.parametrize("group", ["master", "worker"])
@pytest.mark.parametrize(("mode", "owner"), [(0o1777, 0), (0o750, 0), (0o2775, 0)])
def test_an_existing_parent_keeps_its_owner_and_mode(
    root: Path, tmp_path: Path, group: str, mode: int, owner: int
) -> None:
    parent = tmp_path / "scratch"
    parent.mkdir()
    parent.chmod(mode)
    os.chown(parent, owner, owner)
    before = attributes(parent)
    data_dir = parent / "data"
    text = tmpfiles(
        root,
        [group],
        **{f"{group}_data_dir": str(data_dir), f"{group}_user": "daemon", f"{group}_group": "bin"},
        master_backup_dir=str(tmp_path / "new/backup"),
    )
    own = [line for line in text.splitlines() if f'"{tmp_path}' in line]
    (tmp_path / "list.conf").write_text("\n".join(own) + "\n")
    subprocess.run(
        ["/usr/bin/systemd-tmpfiles", "--create", tmp_path / "list.conf"], check=True, umask=0o077
    )
    assert attributes(parent) == before
    assert attributes(data_dir)[0] == 0o750
    assert data_dir.owner() == "daemon"
    if group == "master":
        assert attributes(tmp_path / "new") == (0o755, 0, 0)
        assert attributes(tmp_path / "new/backup")[0] == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change owners")
def test_a_directory_of_the_system_is_only_created(root: Path, tmp_path: Path) -> None:
    """Directories outside of the farm's own ones are marked, so that existing ones are kept."""
    farm = (
        "/etc/ffmpeg-rtmp",
        "/opt/ffmpeg-rtmp",
        "/var/lib/ffmpeg-rtmp",
        "/var/backups/ffmpeg-rtmp",
    )
    groups = ["all", "master", "worker", "rtmp_server", "monitoring", "postgresql"]
    lines = [line.split() for line in tmpfiles(root, groups).splitlines() if line[:1] == "d"]
    other = [line for line in lines if not line[1].strip('"').startswith(farm)]
    assert {line[1] for line in other} == {
        '"/usr/local/libexec"',
        '"/etc/postgresql-common/createcluster.d"',
    }
    for line in other:
        path = tmp_path / line[1].strip('"').lstrip("/")
        path.mkdir(parents=True)
        path.chmod(0o2775)
        (tmp_path / "list.conf").write_text(" ".join(["d", str(path), *line[2:]]) + "\n")
        subprocess.run(
            ["/usr/bin/systemd-tmpfiles", "--create", tmp_path / "list.conf"], check=True
        )
        assert attributes(path)[0] == 0o2775
