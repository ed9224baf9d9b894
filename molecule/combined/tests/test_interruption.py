"""A deployment that is killed before a restart; molecule/interrupted tests more cases."""

import re
from pathlib import Path

from deployed_farm import ROOT, interruption, run_playbook
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

INVENTORY = ROOT / "molecule/combined/inventory"
AGENT = "ffrtmp-agent@1.service"
TASK = "worker : service | Ensure"


def test_the_next_run_corrects_an_interrupted_one(host: Host, tmp_path: Path) -> None:
    """Change a setting of the agent, and kill the play after the file was written."""
    source = f"release_source_dir={ROOT / '.state/combined-source'}"
    command = (
        "playbooks/worker.yml",
        "--extra-vars",
        f"{source} worker_cache_max_bytes=5000000000",
    )
    before = host.service(AGENT).systemd_properties["InvocationID"]
    killed = run_playbook(INVENTORY, *command, environment=interruption(TASK, tmp_path / "reached"))
    assert killed.returncode == -9, killed.stdout
    assert (tmp_path / "reached").read_text().startswith(TASK)
    assert "cache_max_bytes: 5000000000" in host.file("/etc/ffmpeg-rtmp/agent.yml").content_string
    assert host.service(AGENT).systemd_properties["InvocationID"] == before
    corrected = run_playbook(INVENTORY, *command)
    assert corrected.returncode == 0, corrected.stdout
    after = host.service(AGENT).systemd_properties
    assert after["InvocationID"] != before
    assert after["StatusText"].startswith("registered with https://")
    again = run_playbook(INVENTORY, *command)
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}, again.stdout
    assert host.service(AGENT).systemd_properties["InvocationID"] == after["InvocationID"]
