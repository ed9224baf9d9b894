"""Tests of host tuning: the settings of the role, and the workers that run-benchmark.yml tunes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ffrtmp_worker.tuning.cli import main
from role_templates import load_yaml, render

pytestmark = pytest.mark.slow


def rendered(root: Path, template: str) -> str:
    """Return the text of a template of the role, rendered with the role's defaults."""
    role = root / "roles/host_tuning"
    text = (role / "templates" / template).read_text()
    return str(render(text, load_yaml(role / "defaults/main.yml"), is_file=True))


def test_the_program_accepts_the_settings_of_the_role(root: Path, tmp_path: Path) -> None:
    (tmp_path / "tuning.yml").write_text(rendered(root, "host-tuning.yml.j2"))
    assert main(["--config", str(tmp_path / "tuning.yml"), "check-config"]) == 0


@pytest.mark.parametrize(
    ("setting", "tuned"),
    [("", []), ("host_tuning_enabled: false", []), ("host_tuning_enabled: true", ["worker2"])],
)
def test_only_workers_with_the_setting_are_tuned(
    root: Path, tmp_path: Path, setting: str, tuned: list[str]
) -> None:
    """Run the playbook up to the first worker that it tunes.

    The playbook fails at that worker, because this computer does not have the systemd unit.
    """
    inventory = tmp_path / "inventory"
    (inventory / "host_vars").mkdir(parents=True)
    (inventory / "host_vars/worker2.yml").write_text(f"---\n{setting}\n")
    (inventory / "group_vars").mkdir()
    for group in ("all", "worker"):
        (inventory / "group_vars" / f"{group}.yml").symlink_to(root / f"group_vars/{group}.yml")
    hosts = {"master": ["master1"], "worker": ["worker1", "worker2"], "monitoring": ["master1"]}
    lines = [line for group, names in hosts.items() for line in (f"[{group}]", *names)]
    (inventory / "hosts.ini").write_text("\n".join(lines) + "\n")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/operator").write_text("token")
    settings = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    settings += f" ansible_become=false farm_secrets_dir={tmp_path}"
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory)]
    command += ["run-benchmark.yml", "--extra-vars", settings]
    environment = os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=root, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert ("TASK [Queue the suite]" in done.stdout) == (not tuned), done.stdout + done.stderr
    assert ("TASK [List the active runs]" in done.stdout) == bool(tuned)
    assert "worker1" not in done.stdout
    for name in tuned:
        assert f"[master1 -> {name}" in done.stdout
