"""Test with an inventory that has only a master and a worker; all other groups are optional."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

PROBE = [
    {
        "hosts": "{{ farm_api_host }}",
        "gather_facts": False,
        "vars_files": ["vars/api.yml"],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": "{{ probed | to_json }}",
                    "dest": "{{ inventory_dir }}/../settings.json",
                },
                "vars": {
                    "probed": {
                        "host": "{{ inventory_hostname }}",
                        "url": "{{ farm_api_connection.master_url }}",
                        "database": "{{ master_database_url }}",
                        "rtmp": "{{ hostvars.w1.worker_rtmp_url }}",
                        "rtmp_statistics": "{{ hostvars.w1.worker_rtmp_stat_url }}",
                    }
                },
            }
        ],
    }
]


def test_settings_need_no_optional_group(root: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(root / "group_vars", inventory / "group_vars")
    groups = {"master": {"hosts": {"m1": {}}}, "worker": {"hosts": {"w1": {}}}}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    document = {"all": {"vars": local, "children": groups}}
    (inventory / "hosts.yml").write_text(json.dumps(document))
    shutil.copytree(root / "playbooks/vars", tmp_path / "playbooks/vars")
    (tmp_path / "playbooks/probe.yml").write_text(json.dumps(PROBE))
    # The token must exist, because it is read together with the other connection parameters.
    tokens = tmp_path / ".secrets/default/tokens"
    tokens.mkdir(parents=True)
    (tokens / "operator").write_text("token")
    probed = subprocess.run(
        [ANSIBLE, "--inventory", inventory, "playbooks/probe.yml"],
        cwd=tmp_path,
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert probed.returncode == 0, probed.stdout + probed.stderr
    assert json.loads((tmp_path / "settings.json").read_text()) == {
        "host": "m1",
        "url": "https://m1:8080",
        "database": "sqlite:////var/lib/ffmpeg-rtmp/master/farm.db",
        "rtmp": "",
        "rtmp_statistics": "",
    }
