"""Tests of ffrtmp results and ffrtmp backup."""

import csv
import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ffrtmp_cli import backup_directory
from ffrtmp_client.api import file_sha256
from ffrtmp_client.errors import UnreachableError
from modules.farm import LOG, Farm

from .conftest import Document, Ffrtmp, working
from .suite_file import write_suite

pytestmark = pytest.mark.usefixtures("profile")


@pytest.fixture
def run(farm: Farm, document: Document, tmp_path: Path) -> dict[str, Any]:
    """A run that has succeeded."""
    with working(farm):
        found: dict[str, Any] = document("run", str(write_suite(tmp_path)))["run"]
    return found


@pytest.mark.slow
def test_the_table_and_the_document_have_the_medians(
    run: dict[str, Any], ffrtmp: Ffrtmp, document: Document
) -> None:
    outcome = ffrtmp("results")
    assert outcome.code == 0, outcome.err
    assert f"run {run['id']}" in outcome.out
    found = document("results", run["id"])
    assert (found["is_complete"], found["count"], len(found["rows"])) == (True, 2, 1)
    row = found["rows"][0]
    assert (row["node"], row["encode"], row["n"], row["speed"]) == ("worker1", "x264", 2, 2.0)


@pytest.mark.slow
def test_results_are_exported(run: dict[str, Any], ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    files = {}
    for file_format in ("csv", "json", "parquet", "table"):
        file = tmp_path / f"results.{file_format}"
        outcome = ffrtmp("results", run["id"], "--format", file_format, "-o", str(file))
        assert (outcome.code, outcome.out) == (0, ""), outcome.err
        files[file_format] = file.read_bytes()
    rows = list(csv.DictReader(io.StringIO(files["csv"].decode())))
    assert [row["speed"] for row in rows] == ["2.0", "2.0"]
    assert len(json.loads(files["json"])["results"]) == 2
    assert files["parquet"][:4] == files["parquet"][-4:] == b"PAR1"
    assert b"Medians of 2 repeats" in files["table"]


@pytest.mark.slow
def test_an_export_and_a_document_need_a_file(run: dict[str, Any], ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("results", run["id"], "--format", "csv", "--json")
    assert outcome.code == 2
    assert "--output" in json.loads(outcome.err)["detail"]


@pytest.mark.slow
def test_a_directory_has_the_results_and_their_digests(
    run: dict[str, Any], document: Document, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    directory = tmp_path / "demo results"
    found = document("results", run["id"], "--directory", str(directory))
    assert (found["file"], found["missing"]) == (str(directory), [])
    for line in (directory / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert file_sha256(directory / name) == digest
    log = directory / "logs" / "worker1" / "clip_x264_800k-r1-a1" / "ffmpeg.log"
    assert log.read_bytes() == LOG
    other = ffrtmp("run", "--attach", run["id"], "--directory", str(directory))
    assert other.code == 0, other.err


@pytest.mark.slow
def test_a_directory_of_another_run_is_not_changed(
    run: dict[str, Any], ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    (tmp_path / "results.json").write_text('{"run": {"id": "other"}}')
    outcome = ffrtmp("results", run["id"], "--directory", str(tmp_path))
    assert outcome.code == 1
    assert "choose another directory" in outcome.err


@pytest.mark.slow
def test_an_unwritable_file_is_reported(run: dict[str, Any], ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("results", run["id"], "--output", "/absent/results.txt")
    assert outcome.code == 1
    assert "/absent/results.txt cannot be written" in outcome.err


@pytest.mark.slow
def test_a_backup_is_extended(
    farm: Farm, run: dict[str, Any], document: Document, tmp_path: Path
) -> None:
    directory = tmp_path / "backup"
    first = document("backup", str(directory))
    assert first["written_runs"] >= 1
    assert first["omitted"] == []
    (copy,) = (directory / "runs").glob(f"*-{run['id'][-8:]}")
    assert (copy / "suite.yml").exists()
    lines = (directory / "farm" / "results.jsonl").read_text().splitlines()
    assert run["id"] in [json.loads(line)["run_id"] for line in lines]
    audit = json.loads((directory / "farm" / "audit.json").read_bytes())
    assert "run created" in {entry["action"] for entry in audit}
    with working(farm):
        document("run", str(write_suite(tmp_path)))
    second = document("backup", str(directory))
    assert second["unchanged_runs"] >= 1
    assert second["written_runs"] < first["written_runs"] + second["unchanged_runs"]


@pytest.mark.slow
def test_a_backup_of_a_viewer_omits_what_it_may_not_read(
    run: dict[str, Any], document: Document, tmp_path: Path
) -> None:
    token = tmp_path / "viewer"
    token.write_text("token-viewer")
    found = document("backup", str(tmp_path / "backup"), "--token-file", str(token))
    assert found["omitted"] == ["tokens.json", "audit.json"]


@pytest.mark.slow
def test_an_interrupted_backup_is_continued(
    run: dict[str, Any],
    ffrtmp: Ffrtmp,
    document: Document,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = tmp_path / "backup"

    def fail(*_: object) -> None:
        raise UnreachableError("the master did not answer")

    with monkeypatch.context() as context:
        context.setattr(backup_directory, "read_results", fail)
        assert ffrtmp("backup", str(directory)).code == 1
    assert document("backup", str(directory))["written_runs"] >= 1


@pytest.mark.slow
def test_a_large_export_does_not_prevent_a_backup(
    run: dict[str, Any], ffrtmp: Ffrtmp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "backup"
    monkeypatch.setattr(backup_directory, "EXPORT_MAX_BYTES", 10)
    outcome = ffrtmp("backup", str(directory))
    assert outcome.code == 0, outcome.err
    assert "more than 10 bytes and is omitted" in outcome.err
    assert "Not included: results.jsonl" in outcome.out
    assert list((directory / "runs").glob(f"*-{run['id'][-8:]}/results.json"))


@pytest.mark.slow
def test_other_users_cannot_read_a_backup(
    run: dict[str, Any], document: Document, tmp_path: Path
) -> None:
    directory = tmp_path / "backup"
    directory.mkdir(mode=0o755)
    document("backup", str(directory))
    for folder in (directory, directory / "farm"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(file.stat().st_mode) for file in directory.rglob("*") if file.is_file()}
    assert modes == {0o600}


def test_a_backup_does_not_write_into_another_directory(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    outcome = ffrtmp("backup", str(tmp_path))
    assert outcome.code == 1
    assert "Choose a new directory" in outcome.err
