"""Memory and CPU limits of a slot, which the kernel enforces and the results report."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml
from deployed_farm import ROOT, Machine

from .conftest import run_playbook

testinfra_hosts = ["ansible://worker1"]
ONE_WORKER = ("--limit", "master1,worker1")
SUITE = {
    "sources": [
        {
            "name": "bigbuckbunny-720p",
            "file": str(ROOT / "files/media/bigbuckbunny-720p.mp4"),
            "sha256": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        }
    ],
    "rate_points": [{"crf": 28}],
    "placement": {"node": "worker1"},
    "repeats": 1,
}


def _set(limits: dict[str, str]) -> None:
    done = run_playbook("playbooks/worker.yml", *ONE_WORKER, "--extra-vars", json.dumps(limits))
    assert done.returncode == 0, done.stdout


def _run_within(
    limits: dict[str, str], preset: str, folder: Path
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run a suite of one job under limits. Return the ended play and the folder of the results."""
    encode = {"name": "x264", "encoder": "libx264", "preset": preset, "threads": 2}
    suite = folder / "suite.yml"
    suite.write_text(yaml.safe_dump({"name": folder.name, **SUITE, "encodes": [encode]}))
    results = folder / "results"
    results.mkdir()
    variables = {"benchmark_suite": str(suite), "farm_results_dir": str(results)}
    _set(limits)
    try:
        done = run_playbook("run-benchmark.yml", "--extra-vars", json.dumps(variables))
    finally:
        _set({})
    (run_folder,) = results.glob("[0-9]*")
    return done, run_folder


def test_an_encode_above_the_memory_limit_is_killed_and_reported(tmp_path: Path) -> None:
    # With its lookahead, the slowest preset needs half a gigabyte for 720 lines.
    done, folder = _run_within({"worker_memory_max": "256M"}, "veryslow", tmp_path)
    (failure,) = json.loads((folder / "failures.json").read_text())
    assert failure["failure_class"] == "out_of_memory"
    assert f"limit of {256 * 2**20} bytes" in failure["message"]
    # The job is not retried, because another attempt would need the same memory.
    assert failure["attempt"] == 1
    assert done.returncode != 0
    assert "out_of_memory" in done.stdout


def test_an_encode_above_the_cpu_quota_is_throttled_and_reported(tmp_path: Path) -> None:
    done, folder = _run_within({"worker_cpu_quota": "40%"}, "ultrafast", tmp_path)
    assert done.returncode == 0, done.stdout
    (result,) = json.loads((folder / "results.json").read_text())["results"]
    measured: dict[str, Any] = result["measurement"]
    encode = measured["encode"]
    # The quota applies to whole periods and includes the CPU time of the agent.
    assert 0.2 < (encode["user_s"] + encode["system_s"]) / encode["wall_s"] < 0.44
    assert measured["environment"]["throttled_periods"] > 5
    assert measured["verdict"]["state"] == "degraded", measured["verdict"]
    assert "quota" in [reason["code"] for reason in measured["verdict"]["reasons"]]


def test_the_agent_runs_with_the_default_limits_afterwards(machine: Machine) -> None:
    assert machine.host.service("ffrtmp-agent@1.service").is_running
    shown = "systemctl show --property MemoryMax,CPUQuotaPerSecUSec ffrtmp-agent@1.service"
    limits = dict(line.split("=", 1) for line in machine.host.check_output(shown).splitlines())
    assert limits["CPUQuotaPerSecUSec"] == "infinity"
    # The default is nine tenths of the memory, of the host or of the machine if that has a limit.
    total_kib = int(machine.host.check_output("awk '/^MemTotal/ {print $2}' /proc/meminfo"))
    assert 0 < int(limits["MemoryMax"]) <= 0.91 * total_kib * 1024
