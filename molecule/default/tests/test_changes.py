"""Changes of a deployed farm: check mode, failed releases, drained nodes, and refusals."""

import re
import shutil
from pathlib import Path

from deployed_farm import ROOT, Machine

from .conftest import run_playbook

testinfra_hosts = ["ansible://master"]


def test_check_mode_shows_the_one_setting_that_changed(machine: Machine) -> None:
    changed = ("--extra-vars", "worker_cache_max_bytes=5000000000")
    done = run_playbook("site.yml", "--check", "--diff", "--limit", "worker1,master1", *changed)
    assert done.returncode == 0, done.stdout
    diff = [line for line in done.stdout.splitlines() if re.match(r"[+-](?![+-])", line)]
    assert diff == ["-cache_max_bytes: 10737418240", "+cache_max_bytes: 5000000000"]
    assert re.search(r"^master1 .* changed=0 ", done.stdout, re.MULTILINE)


def test_a_release_that_does_not_start_is_rolled_back(machine: Machine, tmp_path: Path) -> None:
    before = machine.host.file("/opt/ffmpeg-rtmp/current").linked_to
    shutil.copytree(ROOT / "files", tmp_path / "files")
    serving = tmp_path / "files/master/src/ffrtmp_master/server/serve.py"
    serving.write_text(serving.read_text() + "\n\ndel serve\n")
    broken = ("--extra-vars", f"release_source_dir={tmp_path}")
    done = run_playbook(
        "playbooks/master.yml", *broken, "--extra-vars", "master_ready_timeout_s=10"
    )
    assert done.returncode != 0
    output = " ".join(done.stdout.split())
    assert f"{Path(before).name} was restored and is serving" in output, done.stdout
    assert machine.host.file("/opt/ffmpeg-rtmp/current").linked_to == before
    assert machine.request(f"https://{machine.address}:8080/readyz").status == 200


def test_a_node_is_drained_and_activated(machine: Machine, operator: str) -> None:
    for state in ("draining", "active"):
        done = run_playbook(
            "playbooks/node.yml", "--extra-vars", f"node_name=worker1 node_state={state}"
        )
        assert done.returncode == 0, done.stdout
        nodes = machine.request(f"https://{machine.address}:8080/v1/nodes", token=operator).json()
        states = {node["name"]: node["state"] for node in nodes["items"]}
        assert states == {"worker1": state, "worker2": "active"}


def test_an_invalid_suite_is_refused_before_anything_is_queued(
    machine: Machine, operator: str, tmp_path: Path
) -> None:
    url = f"https://{machine.address}:8080/v1/runs"
    before = machine.request(url, token=operator).json()
    text = (ROOT / "files/suites/demo.yml").read_text()
    text = text.replace("../media", str(ROOT / "files/media")).replace("libx265", "libx266")
    (tmp_path / "wrong.yml").write_text(text)
    done = run_playbook(
        "run-benchmark.yml", "--extra-vars", f"benchmark_suite={tmp_path / 'wrong.yml'}"
    )
    assert done.returncode != 0
    line = text[: text.index("libx266")].count("\n") + 1
    assert f"wrong.yml:{line}:5: encodes.1.encoder: 'libx266' is not known" in done.stdout
    assert machine.request(url, token=operator).json() == before


def test_a_port_in_use_stops_the_play_before_any_change(
    machine: Machine,
) -> None:
    done = run_playbook("site.yml", "--extra-vars", "farm_api_port=22")
    assert done.returncode != 0
    output = " ".join(done.stdout.split())
    assert "Port 22 of master1 is in use, and not by ffrtmp-master.service" in output
    assert "changed=0" in output
    assert not re.search(r"changed=[1-9]", output)
