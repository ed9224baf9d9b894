"""Tests that a setting on which existing files depend cannot change unnoticed."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from local_playbook import run_playbook
from role_templates import load_yaml, render

ROOT = Path(__file__).resolve().parents[2]
OLD = {
    "master_data_dir": "/var/lib/ffmpeg-rtmp/master",
    "worker_data_dir": "/var/lib/ffmpeg-rtmp/worker",
    "worker_user": "ffrtmp-worker",
    "farm_postgresql_version": "15",
}


def _variables(record: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    content = base64.b64encode(json.dumps(record).encode()).decode()
    return {
        **load_yaml(ROOT / "playbooks/vars/fixed_settings.yml"),
        "inventory_hostname": "h1",
        "group_names": ["master", "postgresql", "worker"],
        "farm_confirmed_changes": [],
        "farm_postgresql_database": "ffmpeg_rtmp",
        "farm_postgresql_port": 5432,
        "farm_postgresql_user": "ffmpeg_rtmp",
        "farm_postgresql_version": "15",
        "__farm_record": {} if record is None else {"content": content},
        **more,
    }


def test_a_new_host_and_unchanged_settings_are_accepted() -> None:
    assert render("{{ __farm_moved }}", _variables(None)) == []
    fixed = render("{{ __farm_fixed }}", _variables(None))
    assert OLD.items() <= fixed.items()
    assert render("{{ __farm_moved }}", _variables(fixed)) == []


@pytest.mark.parametrize(
    ("name", "new", "steps"),
    [
        ("worker_data_dir", "/scratch/w", "mv /var/lib/ffmpeg-rtmp/worker /scratch/w"),
        ("master_data_dir", "/data/m", "systemctl stop ffrtmp-master.service"),
        ("worker_user", "encoder", "--from=ffrtmp-worker encoder /var/lib/ffmpeg-rtmp/worker"),
        ("farm_postgresql_version", "17", "pg_upgradecluster"),
    ],
)
def test_a_change_is_refused_with_the_steps_until_it_is_confirmed(
    name: str, new: str, steps: str
) -> None:
    variables = _variables(OLD, **{name: new})
    assert render("{{ __farm_moved }}", variables) == [name]
    problem = " ".join(render("{{ __farm_moved_problem }}", variables).split())
    assert problem.startswith(f"{name} of h1 is {new}, but the host was deployed with {OLD[name]}.")
    assert steps in problem
    assert f'{{"farm_confirmed_changes": ["{name}"]}}' in problem
    for confirmed in ([name], name, f'["{name}"]'):
        accepted = {**variables, "farm_confirmed_changes": confirmed}
        assert render("{{ __farm_moved }}", accepted) == []


@pytest.mark.slow
def test_the_settings_are_recorded_once(root: Path, tmp_path: Path) -> None:
    record = tmp_path / "settings.json"
    _, play = load_yaml(ROOT / "playbooks/hosts.yml")
    task = {**play["post_tasks"][0], "become": False}
    task["config_files"] = {"files": [{**task["config_files"]["files"][0], "owner": None}]}
    own = {**_variables({"worker_user": "former", "removed": 1}), "__farm_record_file": str(record)}
    own["playbook_dir"] = str(ROOT / "playbooks")
    names = ("group_names", "inventory_hostname", "playbook_dir")
    document = [
        {
            "name": "Record",
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {name: value for name, value in own.items() if name not in names},
            "tasks": [task],
        }
    ]
    (tmp_path / "templates").symlink_to(ROOT / "playbooks/templates")
    (tmp_path / "play.yml").write_text(json.dumps(document))
    python = f"ansible_python_interpreter={sys.executable}"
    for changed in ("changed=1", "changed=0"):
        done = run_playbook(
            root, tmp_path, "-e", python, "-i", "localhost,", "-c", "local", "play.yml"
        )
        assert done.returncode == 0, done.stdout
        assert changed in done.stdout
    recorded = json.loads(record.read_text())
    assert recorded["release_install_dir"] == "/opt/ffmpeg-rtmp"
    assert recorded["removed"] == 1


@pytest.mark.slow
def test_the_playbook_refuses_the_change_before_it_changes_anything(
    root: Path, tmp_path: Path
) -> None:
    for group in ("all", "master", "worker"):
        link = tmp_path / f"group_vars/{group}/00_common.yml"
        link.parent.mkdir(parents=True)
        link.symlink_to(ROOT / f"group_vars/{group}.yml")
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    children = {group: {"hosts": {"h1": {}}} for group in ("master", "worker")}
    inventory = {"all": {"vars": local, "children": children}}
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    record = tmp_path / "settings.json"
    record.write_text(json.dumps(OLD))
    extra = json.dumps({"__farm_record_file": str(record), "worker_user": "encoder"})
    done = run_playbook(
        root, root, "--check", "-i", str(tmp_path), "-e", extra, "playbooks/hosts.yml"
    )
    output = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "worker_user of h1 is encoder" in output
    assert "changed=0" in output
    assert json.loads(record.read_text()) == OLD
