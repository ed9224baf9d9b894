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
    assert document["counts"]["succeeded"] == 2
    assert document["directory"] == str(tmp_path / "results")
    stored = json.loads((tmp_path / "results/results.json").read_text())["results"]
    assert len(deployed) == 2
    assert _outputs(stored) == deployed


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
