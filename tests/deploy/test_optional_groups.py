"""Test with an inventory that has only a master and a worker; all other groups are optional."""

import json
from pathlib import Path

from settings_probe import run_play

PROBE = {
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


def test_settings_need_no_optional_group(root: Path, tmp_path: Path) -> None:
    groups = {"master": {"hosts": {"m1": {}}}, "worker": {"hosts": {"w1": {}}}}
    # The token must exist, because it is read together with the other connection parameters.
    tokens = tmp_path / ".secrets/default/tokens"
    tokens.mkdir(parents=True)
    (tokens / "operator").write_text("token")
    run_play(root, tmp_path, groups, PROBE)
    assert json.loads((tmp_path / "settings.json").read_text()) == {
        "host": "m1",
        "url": "https://m1:8080",
        "database": "sqlite:////var/lib/ffmpeg-rtmp/master/farm.db",
        "rtmp": "",
        "rtmp_statistics": "",
    }
