"""Test that `ffrtmp local` measures the same as an agent that is deployed on this computer."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ffrtmp_analysis.statistics.median import estimate_median
from ffrtmp_shared.models import Run
from ruamel.yaml import YAML

from .conftest import Farm

pytestmark = pytest.mark.slow

_KEYS = {"rate_points": [{"bitrate_kbps": 200}, {"crf": 30}]}


def test_bytes_and_quality_are_those_of_a_deployed_agent(
    farm: Farm, make_clip: Callable[[int], Path], tmp_path: Path
) -> None:
    clip = make_clip(2)
    farm.start_agents("worker1")
    run = farm.wait_for_end(farm.launch(clip, **_KEYS))
    deployed = _outputs(_results_of(farm, run))
    stored = _run_locally(farm, clip, tmp_path)
    assert len(deployed) == 2
    assert _outputs(stored) == deployed


@pytest.mark.deep
def test_speeds_are_those_of_a_deployed_agent_within_their_intervals(
    farm: Farm, make_clip: Callable[[int], Path], tmp_path: Path
) -> None:
    """Measure eight repeats of encodes of about a second, on a computer without other load."""
    clip = make_clip(15)
    farm.start_agents("worker1")
    keys = _KEYS | {"repeats": 8, "warm_up_s": 1.0, "quality": {"neg": False}}
    keys["encodes"] = [{"name": "x264", "encoder": "libx264", "preset": "medium"}]
    run = farm.wait_for_end(farm.launch(clip, **keys), timeout_s=600)
    deployed = _speeds(_results_of(farm, run))
    local = _speeds(_run_locally(farm, clip, tmp_path))
    assert deployed.keys() == local.keys()
    assert len(deployed) == 2
    for scenario, speeds in deployed.items():
        own, other = estimate_median(speeds), estimate_median(local[scenario])
        assert own is not None
        assert other is not None
        assert own.low <= other.high, scenario
        assert other.low <= own.high, scenario


def _run_locally(farm: Farm, clip: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """Run the suite that was launched last with `ffrtmp local`, and return the results."""
    suite = YAML(typ="safe").load(farm.folder / "suite.yml")
    suite["sources"][0]["file"] = str(clip)
    with (tmp_path / "local.yml").open("w") as file:
        YAML().dump(suite, file)
    folder = tmp_path / "home"
    folder.mkdir()
    command = [Path(sys.executable).parent / "ffrtmp", "local", "local.yml", "--json"]
    command += ["--ffmpeg", farm.ffmpeg, "--output", "results"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "ffrtmp/local/1"
    assert document["complete"]
    assert document["directory"] == str(tmp_path / "results")
    stored: list[dict[str, Any]]
    stored = json.loads((tmp_path / "results/results.json").read_text())["results"]
    assert document["counts"]["succeeded"] == len(stored)
    return stored


def _speeds(found: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the speeds of the repeats of each scenario."""
    speeds: dict[str, list[float]] = {}
    for result in found:
        speed = result["measurement"]["encode"]["speed"]
        speeds.setdefault(result["scenario"]["name"], []).append(speed)
    return speeds


def _results_of(farm: Farm, run: Run) -> list[dict[str, Any]]:
    assert run.state == "succeeded"
    with farm.client() as client:
        return [msgspec.to_builtins(result) for result in client.results(run.id)]


def _outputs(found: list[dict[str, Any]]) -> dict[str, tuple[object, ...]]:
    """Return digests and scores of each output by its scenario."""
    outputs = {}
    for result in found:
        measurement = result["measurement"]
        outputs[result["scenario"]["name"]] = (
            measurement["output"]["sha256"],
            measurement["output"]["decoded_sha256"],
            measurement["quality"]["vmaf_mean"],
            measurement["quality"]["ssim_ffmpeg_mean"],
        )
    return outputs
