"""Tests of the switch to a release with Ansible on this computer, without systemd."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "play.yml"],
        cwd=tmp_path,
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    assert "Link the release as the current one" not in done.stdout
