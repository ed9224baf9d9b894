"""Tests of the action config_files in ansible-playbook: files, diffs, rejections and secrets."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OWNER = {"owner": str(os.getuid()), "group": str(os.getgid())}


class Play:
    """A play on this computer whose only task installs files below a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.target = directory / "host"
        (directory / "templates").mkdir()
        (directory / "templates/settings.j2").write_text("level: {{ level }}\n")
        (directory / "token").write_text("very-secret-token\n")

    def run(
        self, *arguments: str, files: list[dict[str, Any]] | None = None, level: str = "info"
    ) -> subprocess.CompletedProcess[str]:
        task = {
            "name": "Install the files",
            "config_files": {"files": [OWNER | file for file in files or self.files()]},
            "notify": "Report the change",
        }
        handler = {"name": "Report the change", "ansible.builtin.debug": {"msg": "notified"}}
        play = {
            "name": "Install",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [task],
            "handlers": [handler],
        }
        (self.directory / "play.yml").write_text(json.dumps([play]))
        settings = json.dumps({"level": level, "ansible_python_interpreter": sys.executable})
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_FORCE_COLOR": "false",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [program, "-i", "localhost,", "-e", settings, *arguments, "play.yml"],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def files(self, **settings: Any) -> list[dict[str, Any]]:
        return [
            {"template": "settings.j2", "dest": f"{self.target}/deep/settings.yml", **settings},
            {
                "copy": f"{self.directory}/token",
                "dest": f"{self.target}/token",
                "mode": "0600",
                "secret": True,
            },
        ]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def test_files_are_installed_once_and_only_a_change_notifies(play: Play) -> None:
    checked = play.run("--check")
    assert "changed=1" in checked.stdout
    assert not play.target.exists()
    first = play.run("--diff")
    assert first.returncode == 0, first.stdout
    assert "notified" in first.stdout
    assert (play.target / "deep/settings.yml").read_text() == "level: info\n"
    assert stat.S_IMODE((play.target / "deep/settings.yml").stat().st_mode) == 0o644
    assert stat.S_IMODE((play.target / "deep").stat().st_mode) == 0o755
    assert stat.S_IMODE((play.target / "token").stat().st_mode) == 0o600
    again = play.run("--diff")
    assert "changed=0" in again.stdout
    assert "notified" not in again.stdout


def test_a_file_that_ansible_vault_encrypted_is_installed_in_clear_text(play: Play) -> None:
    password = play.directory / "vault-password"
    password.write_text("password of the vault\n")
    encrypt = [Path(sys.executable).with_name("ansible-vault"), "encrypt", "token"]
    subprocess.run([*encrypt, "--vault-password-file", password], cwd=play.directory, check=True)
    assert (play.directory / "token").read_text().startswith("$ANSIBLE_VAULT;")
    refused = play.run()
    assert refused.returncode != 0
    assert f"secret must be specified to decrypt {play.directory}/token" in " ".join(
        (refused.stdout + refused.stderr).split()
    )
    assert not (play.target / "token").exists()
    done = play.run("--vault-password-file", str(password))
    assert done.returncode == 0, done.stdout
    assert (play.target / "token").read_text() == "very-secret-token\n"


def test_files_for_a_container_are_readable_and_not_validated(play: Play) -> None:
    root = play.directory / "root"
    files = [
        {"template": "settings.j2", "dest": "/etc/example/settings.yml", "validate": "absent %s"},
        {"copy": f"{play.directory}/token", "dest": "/etc/example/token", "mode": "0600"},
    ]
    for file in files:
        file |= {"owner": "absent-user", "group": "absent-group"}
    ended = play.run("-e", f"config_files_root={root}", files=files)
    assert ended.returncode == 0, ended.stdout
    assert (root / "etc/example/settings.yml").read_text() == "level: info\n"
    assert stat.S_IMODE((root / "etc/example/token").stat().st_mode) == 0o444
    again = play.run("-e", f"config_files_root={root}", files=files)
    assert "changed=0" in again.stdout


def test_a_diff_shows_exactly_the_changed_line_and_no_secret(play: Play) -> None:
    play.run()
    (play.directory / "token").write_text("another-secret-token\n")
    for mode in (["--check"], []):
        changed = play.run("--diff", "-vvv", *mode, level="debug")
        assert changed.returncode == 0, changed.stdout
        lines = [line for line in changed.stdout.splitlines() if line[:1] in {"+", "-"}]
        lines = [line for line in lines if not line.startswith(("+++", "---"))]
        assert lines == ["-level: info", "+level: debug"]
        assert "changed=1" in changed.stdout
        assert "another-secret-token" not in changed.stdout + changed.stderr
        assert "very-secret-token" not in changed.stdout + changed.stderr
    assert (play.target / "token").read_text() == "another-secret-token\n"


def test_permissions_are_a_change_and_a_rejected_file_is_not_installed(play: Play) -> None:
    play.run()
    (play.target / "token").chmod(0o644)
    changed = play.run("--diff")
    assert "changed=1" in changed.stdout
    assert "mode: 0600" in changed.stdout
    assert stat.S_IMODE((play.target / "token").stat().st_mode) == 0o600

    files = play.files(validate="/usr/bin/grep --quiet --invert-match debug %s")
    rejected = play.run(files=files, level="debug")
    assert rejected.returncode != 0
    assert "settings.yml was not changed" in " ".join(rejected.stdout.split())
    assert (play.target / "deep/settings.yml").read_text() == "level: info\n"


@pytest.mark.parametrize(
    "file", [{"template": "settings.j2"}, {"dest": "/x", "copy": "a", "src": "b"}]
)
def test_an_incomplete_file_is_refused(play: Play, file: dict[str, str]) -> None:
    refused = play.run(files=[file])
    assert refused.returncode != 0
    assert "each file needs dest and either template or copy" in " ".join(refused.stdout.split())


UNIT = "[Service]\nExecStart=/opt/not/installed/yet\nMemoryMax={{ level }}\n"


@pytest.mark.parametrize("value", ["8GB", "lots"])
@pytest.mark.parametrize("name", ["x.service", "x@1.service.d/50-limits.conf"])
def test_a_unit_that_systemd_would_ignore_in_part_is_refused(
    play: Play, name: str, value: str
) -> None:
    (play.directory / "templates/settings.j2").write_text(UNIT)
    files = [*play.files()[1:], {"template": "settings.j2", "dest": f"/etc/systemd/system/{name}"}]
    for mode in (["--check"], []):
        refused = play.run(*mode, files=files, level=value)
        assert refused.returncode != 0
        output = " ".join(refused.stdout.split())
        assert f"systemd would ignore MemoryMax={value} (Invalid memory limit" in output
        assert "Correct the variable" in output
    # Nothing was changed, not even the files before the unit.
    assert not play.target.exists()
    assert not Path(f"/etc/systemd/system/{name}").exists()


@pytest.mark.parametrize("value", ["8G", "50%", "infinity"])
def test_a_correct_unit_is_accepted(play: Play, value: str) -> None:
    (play.directory / "templates/settings.j2").write_text(UNIT)
    files = [{"template": "settings.j2", "dest": "/etc/systemd/system/ffrtmp-test.service"}]
    accepted = play.run("--check", files=files, level=value)
    assert "changed=1" in accepted.stdout, accepted.stdout


@pytest.mark.parametrize("secret", [True, "yes", "true"])
def test_the_output_of_the_checker_of_a_secret_file_is_hidden(
    play: Play, secret: bool | str
) -> None:
    checker = "/usr/bin/awk '{print; exit 1}' %s"
    file = {"copy": "token", "dest": f"{play.target}/token", "validate": checker, "secret": secret}
    refused = play.run("--diff", "-vvv", files=[file])
    assert refused.returncode != 0
    assert "its output is secret" in " ".join(refused.stdout.split())
    assert "very-secret-token" not in refused.stdout + refused.stderr


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"copy": "token", "dest": ""}, "dest must be a path"),
        ({"copy": "token", "dest": "/x", "mode": "640 "}, "mode must be permissions"),
        ({"copy": "token", "dest": "/x", "mode": 416}, "the type of mode is not valid"),
        ({"copy": "token", "dest": "/x", "group": "a b"}, "group must be the name"),
        ({"copy": "token", "dest": "/x", "validate": "check"}, "validate must be a command"),
        ({"copy": "token", "dest": "/x", "validate": "a ' %s"}, "validate must be a command"),
        ({"copy": "token", "dest": "/x", "secret": "maybe"}, "secret must be true or false"),
        ({"copy": "token", "dest": "/x", "vars": "a"}, "the type of vars is not valid"),
    ],
)
def test_an_invalid_option_of_a_file_is_named(
    play: Play, file: dict[str, Any], message: str
) -> None:
    refused = play.run("-vvv", files=[file])
    assert refused.returncode != 0
    assert message in " ".join(refused.stdout.split())
    assert "Traceback" not in refused.stdout + refused.stderr
