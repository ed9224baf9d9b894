"""Tests of ffrtmp export and ffrtmp verify."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest
from ffrtmp_client.saved_results import read_saved_results
from modules.farm import Farm

from .conftest import Document, Ffrtmp, working
from .saved_run import write_run
from .suite_file import write_suite


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a complete run."""
    return write_run(tmp_path / "run")


def test_the_commands_work_without_a_farm(
    directory: Path,
    tmp_path: Path,
    document: Document,
    ffrtmp: Ffrtmp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (directory / "notes.txt").write_text("not part of the run")
    (directory / "report.html").write_text("made from the other files")
    found = document("export", str(directory), "--farm", "other farm")
    assert found["file"] == "20261201T020000Z-demo-33c24f32.zip"
    assert (found["is_complete"], found["omitted"]) == (True, ["notes.txt"])
    file = Path(found["file"])
    assert hashlib.sha256(file.read_bytes()).hexdigest() == found["sha256"]
    checked = document("verify", found["file"])
    assert (checked["is_valid"], checked["farm"]) == (True, "other farm")
    assert "are valid" in ffrtmp("verify", found["file"]).out
    assert document("verify", str(directory), code=1)["problems"] == [
        {"path": "notes.txt", "kind": "additional", "reason": "no list of files contains it"}
    ]


@pytest.mark.parametrize("command", ["export", "verify"])
def test_a_path_without_a_run_is_refused(command: str, ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    outcome = ffrtmp(command, str(tmp_path / "absent"))
    assert outcome.code in (1, 3)
    assert "absent" in outcome.err
    empty = ffrtmp(command, str(tmp_path))
    assert empty.code == 1


def test_a_file_of_another_type_is_refused(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    outcome = ffrtmp("verify", str(tmp_path / "text.txt"))
    assert outcome.code == 1
    assert "neither a zip file nor a directory" in outcome.err
    os.mkfifo(tmp_path / "pipe.zip")
    assert "neither a zip file" in ffrtmp("verify", str(tmp_path / "pipe.zip")).err


@pytest.mark.slow
@pytest.mark.usefixtures("profile")
def test_a_run_of_the_farm_is_exported(
    farm: Farm, document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with working(farm):
        run = document("run", str(write_suite(tmp_path)))["run"]
    found = document("export", run["id"], "-o", "run.zip")
    assert (found["run_id"], found["is_complete"], found["missing"]) == (run["id"], True, [])
    assert document("verify", "run.zip")["run_id"] == run["id"]
    first = Path("run.zip").read_bytes()
    document("export", "last", "--output", "run.zip")
    assert Path("run.zip").read_bytes() == first
    assert [item.name for item in tmp_path.glob(".ffrtmp-export-*")] == []
    with zipfile.ZipFile("run.zip") as archive:
        (node,) = json.loads(archive.read("nodes.json"))["nodes"]
        assert archive.read("suite.yml")
    assert node["name"] == "worker1"
    assert node["registration"]["facts"]["cpu_model"]
    assert "hostname" not in node["registration"]["facts"]
    assert node["environment"]["agent_version"]
    assert len(read_saved_results(Path("run.zip")).results) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("profile")
def test_a_queued_run_of_the_farm_is_exported(
    farm: Farm, document: Document, tmp_path: Path
) -> None:
    farm.agent().client.close()
    document("run", str(write_suite(tmp_path)), "--detach")
    found = document("export", "--output", str(tmp_path / "run.zip"))
    assert not found["is_complete"]
    checked = document("verify", str(tmp_path / "run.zip"))
    assert (checked["is_valid"], checked["is_complete"]) == (True, False)
