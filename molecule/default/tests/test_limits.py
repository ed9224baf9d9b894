"""A slot's limits, set by an operator: the kernel keeps them, and the results say so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Machine, play

testinfra_hosts = ["ansible://worker1"]
ONE = ("--limit", "master1,worker1")
# With its lookahead, the slowest preset wants half a gigabyte for 720 lines.
LIMITS = {"worker_memory_max": "256M", "worker_cpu_quota": "40%"}
SUITE = {
    "name": "limits",
    "sources": [
        {
            "name": "bigbuckbunny-720p",
            "file": str(ROOT / "files/media/bigbuckbunny-720p.mp4"),
            "sha256": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        }
    ],
    "encodes": [
        {"name": "frugal", "encoder": "libx264", "preset": "ultrafast", "threads": 2},
        {"name": "greedy", "encoder": "libx264", "preset": "veryslow", "threads": 2},
    ],
    "rate_points": [{"crf": 28}],
    "placement": {"node": "worker1"},
    "repeats": 1,
}


def _set(limits: dict[str, str]) -> None:
    done = play("playbooks/worker.yml", *ONE, "--extra-vars", json.dumps(limits))
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """What run-benchmark.yml says and brings here while the limits hold."""
    folder = tmp_path_factory.mktemp("limits")
    (folder / "limits.yml").write_text(yaml.safe_dump(SUITE))
    variables = {
        "benchmark_suite": str(folder / "limits.yml"),
        "farm_results_dir": str(folder / "results"),
    }
    (folder / "results").mkdir()
    _set(LIMITS)
    try:
        done = play("run-benchmark.yml", "--extra-vars", json.dumps(variables))
    finally:
        _set({})
    (results,) = (path for path in (folder / "results").iterdir() if path.is_dir())
    yield done.stdout, results


def test_what_wants_more_memory_is_killed_and_says_so(found: tuple[str, Path]) -> None:
    said, folder = found
    (failure,) = json.loads((folder / "failures.json").read_text())
    text = json.dumps(failure)
    assert "out_of_memory" in text
    assert f"limit of {256 * 2**20} bytes" in text
    assert "greedy" in text
    # Another try would want as much.
    assert failure["attempt"] == 1
    assert "out_of_memory" in said


def test_what_wants_more_cpu_is_slowed_and_says_so(found: tuple[str, Path]) -> None:
    (result,) = json.loads((found[1] / "results.json").read_text())["results"]
    measured: dict[str, Any] = result["measurement"]
    encode = measured["encode"]
    assert result["scenario"]["name"].split("/")[1] == "frugal"
    # A quota is of whole periods, and the agent's own work counts against it too.
    assert (encode["user_s"] + encode["system_s"]) / encode["wall_s"] < 0.44
    assert measured["environment"]["throttled_periods"] > 10
    assert measured["verdict"]["state"] == "degraded"
    assert "quota" in [reason["code"] for reason in measured["verdict"]["reasons"]]


def test_the_agent_lives_on_without_the_limits(machine: Machine, found: tuple[str, Path]) -> None:
    assert found
    assert machine.host.service("ffrtmp-agent@1.service").is_running
    shown = "systemctl show --property MemoryMax,CPUQuotaPerSecUSec ffrtmp-agent@1.service"
    lines = set(machine.host.check_output(shown).splitlines())
    assert lines == {"MemoryMax=infinity", "CPUQuotaPerSecUSec=infinity"}
