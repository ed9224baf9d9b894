"""Tests of the switch to a release with Ansible on this computer, without systemd."""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from local_playbook import run_playbook
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("is_link", [False, True], ids=["directory", "link"])
def test_the_current_release_is_recognized(root: Path, tmp_path: Path, is_link: bool) -> None:
    """The directory of the releases may be a symbolic link; the paths then have two forms."""
    (tmp_path / "disk/releases/1.0-aaaaaaaaaaaa").mkdir(parents=True)
    install_dir = tmp_path / "disk"
    if is_link:
        install_dir = tmp_path / "opt"
        install_dir.symlink_to("disk")
    (tmp_path / "disk/current").symlink_to(install_dir / "releases/1.0-aaaaaaaaaaaa")
    role = {"name": "release", "tasks_from": "switch"}
    play = {
        "name": "Switch",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "release_install_dir": str(install_dir),
            "release_dir": str(install_dir / "releases/1.0-aaaaaaaaaaaa"),
            "release_version": "1.0-aaaaaaaaaaaa",
        },
        "tasks": [{"name": "Switch", "ansible.builtin.include_role": role}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = run_playbook(root, tmp_path, "-i", "localhost,", "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    assert "Link the release as the current one" not in done.stdout


_SYSTEMCTL = """\
#!/bin/sh
[ "$1" = show ] || exit 0
release=$(basename "$(readlink {install_dir}/current)")
state=active
case " {failing} " in *" $release "*) state=failed ;; esac
shift 2
for unit do
    printf 'LoadState=loaded\\nUnitFileState=enabled\\nActiveState=%s\\n' "$state"
    printf 'InvocationID=%s\\nStatusText=%s\\n\\n' "$release" "{status}"
done
"""
_JOURNALCTL = """\
#!/bin/sh
echo "the log of $(basename "$(readlink {install_dir}/current)")"
"""
OLD, NEW = "1.0-aaaaaaaaaaaa", "2.0-bbbbbbbbbbbb"


class Switch(NamedTuple):
    """The outcome of a switch: the exit code, the output and the release that is current."""

    code: int
    printed: str
    current: str


def switch(
    root: Path, folder: Path, *, failing: str = "", status: str = "ready", check_ready: bool = True
) -> Switch:
    """Switch from the old to the new release, with a systemd that reports the given states.

    Args:
        root: The directory of the project.
        folder: A directory for files.
        failing: The releases with which the unit fails.
        status: The status of the unit.
        check_ready: The variable release_check_ready.
    """
    for release in (OLD, NEW):
        (folder / "opt/releases" / release).mkdir(parents=True)
    (folder / "opt/current").symlink_to(folder / "opt/releases" / OLD)
    (folder / "bin").mkdir()
    for name, text in (("systemctl", _SYSTEMCTL), ("journalctl", _JOURNALCTL)):
        program = folder / "bin" / name
        program.write_text(text.format(install_dir=folder / "opt", failing=failing, status=status))
        program.chmod(0o755)
    unit = {"name": "x.service", "ready": {"status_text": "^ready$", "timeout_s": 1}}
    role = {"name": "release", "tasks_from": "switch"}
    play = {
        "name": "Switch",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "module_defaults": {"current_units": {"steady_s": 0, "record_dir": str(folder / "units")}},
        "vars": {
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "release_install_dir": str(folder / "opt"),
            "release_dir": str(folder / "opt/releases" / NEW),
            "release_version": NEW,
            "release_units": [unit],
            "release_check_ready": check_ready,
        },
        "tasks": [{"name": "Switch", "ansible.builtin.include_role": role}],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    done = run_playbook(root, folder, "-i", "localhost,", "play.yml", PATH=path)
    printed = " ".join(done.stdout.replace("\\n", " ").split())
    return Switch(done.returncode, printed, (folder / "opt/current").readlink().name)


def test_a_release_that_fails_is_rolled_back(root: Path, tmp_path: Path) -> None:
    done = switch(root, tmp_path, failing=NEW)
    assert (done.code, done.current) == (2, OLD), done.printed
    assert f"{NEW} did not become ready on localhost" in done.printed
    assert f"{OLD} was restored and is serving." in done.printed


def test_a_rollback_that_fails_reports_both_reasons(root: Path, tmp_path: Path) -> None:
    """The settings on disk are those of the new release, which the previous one may refuse."""
    done = switch(root, tmp_path, failing=f"{OLD} {NEW}")
    assert (done.code, done.current) == (2, OLD), done.printed
    _, _, report = done.printed.partition("Report the rollback")
    assert f"the log of {NEW}" in report
    assert f"The attempt to restore {OLD} failed too" in report
    assert f"the log of {OLD}" in report
    assert "is serving" not in done.printed


def test_an_agent_that_waits_for_its_master_is_not_rolled_back(root: Path, tmp_path: Path) -> None:
    done = switch(root, tmp_path, status="waiting for the master", check_ready=False)
    assert (done.code, done.current) == (0, NEW), done.printed


def test_the_role_of_workers_does_not_check_the_registration_in_the_switch(root: Path) -> None:
    (task,) = YAML(typ="safe").load(root / "roles/worker/tasks/switch.yml")
    assert task["vars"]["release_check_ready"] is False
    (wait, *_) = YAML(typ="safe").load(root / "roles/worker/tasks/service.yml")
    assert wait["current_units"].get("check_ready", True) is True
