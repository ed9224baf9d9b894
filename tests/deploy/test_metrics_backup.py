"""Tests of backups of VictoriaMetrics, with the commands of the role and of its documentation."""

import functools
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from certificates import Site
from polling import wait_until
from postgresql import free_port
from victoria_metrics import (
    FIRST_RELEASE_UNLESS_DEEP,
    RELEASES,
    Service,
    command,
    programs,
    run_victoria_metrics,
    settings,
    write_scrape_config,
)

pytestmark = pytest.mark.slow

_PROGRAM = "ffrtmp-victoria-metrics-backup"
_COMPLETE = "backup_complete.ignore"
_RESTORE = re.compile(
    r"^# runuser -u ffrtmp-victoria-metrics -- (/usr/bin/vmrestore .+?[^\\])$", re.M | re.S
)


def restore_command(root: Path, release: str, variables: dict[str, Any]) -> list[str]:
    """Return the command of docs/backup-and-restore.md for the folders of a test."""
    page = (root / "docs/backup-and-restore.md").read_text(encoding="utf-8")
    (text,) = _RESTORE.findall(page)
    folder = variables["victoria_metrics_config_dir"]
    replaced = {
        "/usr/bin": str(programs(release)),
        "/var/lib/ffmpeg-rtmp": folder,
        "/var/backups/ffmpeg-rtmp-victoria-metrics": variables["victoria_metrics_backup_dir"],
    }
    for path, own in replaced.items():
        assert path in text
        text = text.replace(path, own)
    return shlex.split(text.replace("\\\n", " "))


def backup_command(root: Path, release: str, variables: dict[str, Any]) -> list[str]:
    """Return the command of the role, with its program from the repository."""
    found = command("victoria_metrics", "__victoria_metrics_backup_command", release, variables)
    assert found[0] == f"/usr/local/libexec/{_PROGRAM}"
    return ["/bin/sh", str(root / "roles/victoria_metrics/files" / _PROGRAM), *found[1:]]


def run(arguments: list[str], site: Site) -> None:
    environment = {"SSL_CERT_FILE": str(site.ca_file)}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def latest_backup(folder: Path) -> str:
    """Return the name of the latest backup, which must be complete."""
    assert (folder / "latest" / _COMPLETE).exists()
    return str((folder / "latest").readlink())


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def _holds(store: Service, count: int) -> bool:
    return len(store.query("last_over_time(lasting[1h])")) == count


@pytest.mark.parametrize(
    ("saved", "restored"),
    [
        pytest.param(RELEASES[0], RELEASES[0], id="Debian 12"),
        pytest.param(RELEASES[0], RELEASES[1], id="upgrade"),
        pytest.param(RELEASES[1], RELEASES[1], id="Debian 13", marks=pytest.mark.deep),
    ],
)
def test_a_backup_is_restored_after_the_data_is_lost(
    root: Path, tmp_path: Path, saved: str, restored: str
) -> None:
    site = Site(tmp_path)
    known = settings(site, saved, free_port())
    write_scrape_config(known)
    backup, folder = backup_command(root, saved, known), tmp_path / "backup"
    now_ms = int(time.time() * 1000)
    with run_victoria_metrics(site, saved, known) as store:
        for number in range(3):
            sample = f'lasting{{number="{number}"}} {number} {now_ms - 60_000}\n'
            store.http.post("/api/v1/import/prometheus", content=sample).raise_for_status()
            # Samples that can be queried are part of a snapshot.
            wait_until(functools.partial(_holds, store, number + 1), "the sample can be queried")
            run(backup, site)
            assert latest_backup(folder) == f"backup-{number % 2 + 1}"
            assert (folder / "backup-1" / _COMPLETE).exists()
        # The backup has removed its snapshots, which would otherwise fill the disk.
        assert store.http.get("/snapshot/list").json()["snapshots"] == []
        # If nothing has changed, vmbackup 1.79 may fail after a complete backup.
        run(backup, site)
        assert latest_backup(folder) == "backup-2"
        assert inodes(folder / "backup-1") & inodes(folder / "backup-2")
        sample = f"later 1 {now_ms}\n"
        store.http.post("/api/v1/import/prometheus", content=sample).raise_for_status()
        store.stop()
    data = tmp_path / "victoria-metrics"
    lost = data.rename(tmp_path / "lost")
    assert any(lost.iterdir())
    run(restore_command(root, restored, known), site)
    with run_victoria_metrics(site, restored, known, "restored") as store:
        found = wait_until(
            lambda: store.query("last_over_time(lasting[1h])"), "the samples can be queried"
        )
        values = {series["metric"]["number"]: series["value"][1] for series in found}
        assert values == {"0": "0", "1": "1", "2": "2"}
        assert store.query("last_over_time(later[1h])") == []


@pytest.mark.parametrize("release", FIRST_RELEASE_UNLESS_DEEP)
def test_a_backup_fails_if_the_certificate_cannot_be_verified(
    root: Path, tmp_path: Path, release: str
) -> None:
    """The role sets SSL_CERT_FILE, because vmbackup 1.79 has no flag for the CA."""
    site = Site(tmp_path)
    known = settings(site, release, free_port())
    write_scrape_config(known)
    backup = backup_command(root, release, known)
    with run_victoria_metrics(site, release, known):
        done = subprocess.run(backup, env={}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "certificate" in done.stderr
    assert not (tmp_path / "backup/latest").is_symlink()
    assert not (tmp_path / "backup").exists() or not any((tmp_path / "backup").rglob("*.bin"))


@pytest.mark.parametrize("release", FIRST_RELEASE_UNLESS_DEEP)
def test_a_failed_backup_keeps_the_previous_one(root: Path, tmp_path: Path, release: str) -> None:
    site = Site(tmp_path)
    known = settings(site, release, free_port())
    write_scrape_config(known)
    backup, folder = backup_command(root, release, known), tmp_path / "backup"
    now_ms = int(time.time() * 1000)
    with run_victoria_metrics(site, release, known) as store:
        sample = f'lasting{{number="0"}} 7 {now_ms - 60_000}\n'
        store.http.post("/api/v1/import/prometheus", content=sample).raise_for_status()
        wait_until(functools.partial(_holds, store, 1), "the sample can be queried")
        run(backup, site)
        run(backup, site)
        store.stop()
    assert latest_backup(folder) == "backup-2"
    program = backup.index(str(programs(release) / "vmbackup"))
    # VictoriaMetrics is down, vmbackup is killed, or it ends without a complete backup.
    kill = ["/bin/sh", "-c", "kill -KILL $$"]
    for failing in (backup, [*backup[:program], *kill], [*backup[:program], "/bin/true"]):
        done = subprocess.run(failing, env={}, capture_output=True, text=True, check=False)
        assert done.returncode != 0, failing
        assert "the latest complete one is backup-2" in done.stderr
        assert latest_backup(folder) == "backup-2"
        assert not (folder / "backup-1" / _COMPLETE).exists()
    run(restore_command(root, release, known), site)
    with run_victoria_metrics(site, release, known, "restored") as store:
        wait_until(functools.partial(_holds, store, 1), "the sample can be queried")
        # The next backup replaces what the failed one has left.
        run(backup, site)
    assert latest_backup(folder) == "backup-1"
