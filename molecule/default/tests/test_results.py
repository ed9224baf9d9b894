"""Results on the control node, of runs during which the master and an agent were killed."""

import csv
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from .conftest import RESULTS

ENCODERS = {"libx264", "libx265", "libsvtav1"}
# The suite has three encoders at two bit rates, and the farm has two workers.
JOBS = 12
DIGEST = re.compile(r"[0-9a-f]{64}")


def _folder_of(suite: str) -> Path:
    """Return the folder of the only run of a suite."""
    found = [
        folder
        for folder in RESULTS.glob(f"[0-9]*-{suite}-*")
        if json.loads((folder / "results.json").read_text())["run"]["suite_name"] == suite
    ]
    assert len(found) == 1, sorted(RESULTS.iterdir())
    return found[0]


def test_the_directories_of_runs_are_recognizable(run_folder: Path) -> None:
    assert re.fullmatch(r"\d{8}T\d{6}Z-demo-[0-9a-f]{8}", run_folder.name)
    assert "name: demo\n" in (run_folder / "suite.yml").read_text()
    title, *lines = (run_folder / "table.txt").read_text().splitlines()
    assert title.startswith("Suite demo, farm molecule, run ")
    assert sum("worker1" in line for line in lines) >= len(ENCODERS)
    report = (run_folder / "report.html").read_text()
    assert run_folder.name[-8:] in report
    assert '<svg role="graphics-document"' in report
    latest = RESULTS / "latest"
    assert latest.is_symlink()
    assert latest.resolve() in set(RESULTS.glob("[0-9]*"))


@pytest.fixture(scope="module")
def run_folder() -> Path:
    """Return the folder of the run of the demo suite."""
    return _folder_of("demo")


@pytest.fixture(scope="module")
def results(run_folder: Path) -> list[dict[str, Any]]:
    """Return the results of the run of the demo suite."""
    found = json.loads((run_folder / "results.json").read_text())["results"]
    assert isinstance(found, list)
    return found


@pytest.fixture(scope="module")
def smoke() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the measurements of the smoke suite by node and kind, without the control encodes."""
    found = json.loads((_folder_of("smoke") / "results.json").read_text())["results"]
    return {
        (r["node"], r["scenario"]["kind"]): r["measurement"]
        for r in found
        if r["scenario"]["source"]["name"] != "control"
    }


def test_control_encodes_began_and_ended_the_work_of_each_node() -> None:
    document = json.loads((_folder_of("smoke") / "results.json").read_text())
    control = [r for r in document["results"] if r["scenario"]["source"]["name"] == "control"]
    assert sorted((r["node"], r["repeat"]) for r in control) == [
        (node, repeat) for node in ("worker1", "worker2") for repeat in (1, 2)
    ]
    for node in ("worker1", "worker2"):
        stored = sorted(
            (r["stored_at"], r["scenario"]["source"]["name"])
            for r in document["results"]
            if r["node"] == node
        )
        assert [stored[0][1], stored[-1][1]] == ["control", "control"]
    for drift in document["precision"]["drifts"]:
        assert 0.1 < drift["ratio"] < 10


def test_imprecise_scenarios_are_repeated_up_to_the_maximum() -> None:
    document = json.loads((_folder_of("ladder") / "results.json").read_text())
    repeats: dict[tuple[str, str], list[int]] = {}
    for result in document["results"]:
        key = (result["node"], result["scenario"]["name"])
        repeats.setdefault(key, []).append(result["repeat"])
    assert {node for node, _ in repeats} == {"worker1", "worker2"}
    assert all(sorted(numbers) == [1, 2] for numbers in repeats.values()), repeats
    assert document["run"]["unsettled_nodes"] == []
    states = {median["state"] for median in document["precision"]["medians"]}
    assert states == {"few_repeats"}


def test_every_result_has_a_series(run_folder: Path, results: list[dict[str, Any]]) -> None:
    files = sorted(run_folder.glob("logs/*/*/series.parquet"))
    assert len(files) == len(results)
    for file in files:
        rows = parquet.read_table(file).to_pylist()
        assert len(rows) >= 2, file
        assert rows[-1]["frames"] > 0
        # Only worker1 has energy counters.
        has_power = any(row["power_w"] is not None for row in rows)
        assert has_power == (file.parent.parent.name == "worker1"), file


def test_every_kind_was_measured_on_both_workers(
    smoke: dict[tuple[str, str], dict[str, Any]],
) -> None:
    kinds = {"transcode", "ladder", "decode", "density"}
    assert set(smoke) == {(node, kind) for node in ("worker1", "worker2") for kind in kinds}
    for node in ("worker1", "worker2"):
        ladder = smoke[node, "ladder"]["renditions"]
        assert [(r["name"], r["output"]["height"]) for r in ladder] == [("180p", 180), ("90p", 90)]
        assert all(0 < r["quality"]["vmaf_neg_mean"] <= 100 for r in ladder)
        assert smoke[node, "decode"]["output"] is None
        density = smoke[node, "density"]["density"]
        assert density["streams"] == 1
        assert density["steps"][-1]["held"]
        digests = {smoke[node, kind]["provenance"]["source_sha256"] for kind in kinds}
        assert len(digests) == 1, "a synthetic clip is always the same"


def test_every_result_has_a_verdict_and_energy_or_the_reason_why_not(
    results: list[dict[str, Any]], smoke: dict[tuple[str, str], dict[str, Any]]
) -> None:
    for measurement in [*(r["measurement"] for r in results), *smoke.values()]:
        verdict, energy = measurement["verdict"], measurement["energy"]
        assert verdict["state"] in {"valid", "degraded", "invalid"}
        assert bool(verdict["reasons"]) == (verdict["state"] != "valid")
        assert all(reason["detail"] for reason in verdict["reasons"])
        # Without energy counters, the reason must come from the energy reader itself.
        if energy["status"] == "unavailable":
            assert "does not answer" not in energy["reason"]
        else:
            assert energy["gross_j"] > 0
    # Only worker1 has energy counters.
    statuses = {(r["node"], r["measurement"]["energy"]["status"]) for r in results}
    assert statuses == {("worker1", "measured"), ("worker2", "unavailable")}


def test_every_job_has_one_result(results: list[dict[str, Any]]) -> None:
    assert len(results) == JOBS
    measured = {(r["node"], r["scenario"]["name"], r["repeat"]) for r in results}
    assert len(measured) == JOBS
    assert {r["node"] for r in results} == {"worker1", "worker2"}
    assert {r["scenario"]["encode"]["encoder"] for r in results} == ENCODERS


def test_the_kill_cost_an_attempt_and_no_result(results: list[dict[str, Any]]) -> None:
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


def test_the_same_build_encoded_equally_on_both_workers(
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


def test_the_csv_has_the_same_values(run_folder: Path, results: list[dict[str, Any]]) -> None:
    with (run_folder / "results.csv").open(newline="") as file:
        rows = {row["job_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == JOBS
    for result in results:
        row = rows[result["job_id"]]
        assert float(row["vmaf_mean"]) == result["measurement"]["quality"]["vmaf_mean"]
        assert float(row["speed"]) == result["measurement"]["encode"]["speed"]


def test_every_log_is_complete(run_folder: Path, results: list[dict[str, Any]]) -> None:
    logs = list((run_folder / "logs").rglob("ffmpeg.log"))
    assert len(logs) == JOBS
    wanted = {a["sha256"] for r in results for a in r["artifacts"] if a["name"] == "ffmpeg.log"}
    assert {hashlib.sha256(log.read_bytes()).hexdigest() for log in logs} == wanted


def test_the_ffmpeg_of_a_suite_ran_only_where_it_is_permitted() -> None:
    found = json.loads((_folder_of("builds") / "results.json").read_text())["results"]
    ran, quality_builds = {}, set()
    for result in found:
        provenance = result["measurement"]["provenance"]
        name = result["scenario"]["ffmpeg"]["name"]
        ran[result["node"], name] = provenance["ffmpeg"]["sha256"]
        quality_builds.add(provenance["quality_ffmpeg"]["sha256"])
        assert (provenance["argv"][0] == "under-test/ffmpeg") == (name == "debian")
    assert set(ran) == {("worker1", "debian"), ("worker1", "farm"), ("worker2", "farm")}
    assert ran["worker1", "debian"] != ran["worker1", "farm"] == ran["worker2", "farm"]
    assert len(quality_builds) == 1
