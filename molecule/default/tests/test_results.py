"""What run-benchmark.yml brought to the control node, after master and agent had been killed."""

import csv
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import RESULTS

ENCODERS = {"libx264", "libx265", "libsvtav1"}
DIGEST = re.compile(r"[0-9a-f]{64}")


@pytest.fixture(scope="module")
def run_folder() -> Path:
    """The folder of the only run."""
    (folder,) = RESULTS.iterdir()
    return folder


@pytest.fixture(scope="module")
def results(run_folder: Path) -> list[dict[str, Any]]:
    """The results of the run."""
    found = json.loads((run_folder / "results.json").read_text())["results"]
    assert isinstance(found, list)
    return found


def test_there_are_24_and_none_twice(results: list[dict[str, Any]]) -> None:
    assert len(results) == 24
    what = {(r["node"], r["scenario"]["name"], r["repeat"]) for r in results}
    assert len(what) == 24
    assert {r["node"] for r in results} == {"worker1", "worker2"}
    assert {r["scenario"]["encode"]["encoder"] for r in results} == ENCODERS


def test_killing_cost_an_attempt_and_no_result(results: list[dict[str, Any]]) -> None:
    assert max(r["attempt"] for r in results if r["node"] == "worker1") == 2


def test_every_result_is_plausible(results: list[dict[str, Any]]) -> None:
    for result in results:
        measurement = result["measurement"]
        encode, output = measurement["encode"], measurement["output"]
        assert 60 <= measurement["quality"]["vmaf_mean"] <= 100
        assert measurement["quality"]["pairs"] == output["frames"] == encode["frames"] == 132
        assert 0 < encode["speed"] < 1000
        assert encode["user_s"] > 0
        assert encode["user_s"] + encode["system_s"] <= encode["wall_s"] * (os.cpu_count() or 1)
        target_kbps = result["scenario"]["encode"]["rate"]["bitrate_kbps"]
        assert 0.5 * target_kbps < output["video_bitrate_kbps"] < 1.5 * target_kbps
        provenance = measurement["provenance"]
        assert result["scenario"]["encode"]["encoder"] in provenance["argv"]
        assert DIGEST.fullmatch(provenance["ffmpeg"]["sha256"])
        assert provenance["ffmpeg"]["version"]


def test_the_same_build_gave_the_same_picture_on_both_workers(
    results: list[dict[str, Any]],
) -> None:
    digests = {r["measurement"]["provenance"]["ffmpeg"]["sha256"] for r in results}
    assert len(digests) == 1
    for name in {r["scenario"]["name"] for r in results}:
        scores = [
            r["measurement"]["quality"]["vmaf_mean"]
            for r in results
            if r["scenario"]["name"] == name
        ]
        assert max(scores) - min(scores) < 1


def test_the_csv_says_the_same(run_folder: Path, results: list[dict[str, Any]]) -> None:
    with (run_folder / "results.csv").open(newline="") as file:
        rows = {row["job_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 24
    for result in results:
        row = rows[result["job_id"]]
        assert float(row["vmaf_mean"]) == result["measurement"]["quality"]["vmaf_mean"]
        assert float(row["speed"]) == result["measurement"]["encode"]["speed"]


def test_every_log_is_there_and_whole(run_folder: Path, results: list[dict[str, Any]]) -> None:
    logs = list((run_folder / "logs").rglob("ffmpeg.log"))
    assert len(logs) == 24
    wanted = {a["sha256"] for r in results for a in r["artifacts"] if a["name"] == "ffmpeg.log"}
    assert {hashlib.sha256(log.read_bytes()).hexdigest() for log in logs} == wanted
