"""Tests of ffrtmp report."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ffrtmp_client.results import as_sha256sums
from modules.farm import Farm
from report_results import failures, save_run, transcodes

from .conftest import Document, Ffrtmp, working
from .suite_file import write_suite


@pytest.mark.slow
def test_the_report_on_a_directory_needs_no_farm(document: Document, tmp_path: Path) -> None:
    folder = save_run(tmp_path / "results", transcodes())
    found = document("report", str(folder), "--markdown", str(tmp_path / "report.md"))
    assert found["file"] == str(folder / "report.html")
    assert found["plots"] == 8
    page = (folder / "report.html").read_text()
    assert page.count("<figure>") == 8
    assert "Benchmark report: codecs" in page
    text = (tmp_path / "report.md").read_text()
    assert "| svtav1 8 | crf32 | 1461 | 91.50 | 6 |" in text
    again = tmp_path / "again.html"
    document("report", str(folder / "results.json"), "--output", str(again))
    assert again.read_text() == page


@pytest.mark.slow
def test_the_report_on_a_bundle_is_that_on_its_directory(
    document: Document, tmp_path: Path
) -> None:
    folder, file = save_run(tmp_path / "results", transcodes()), tmp_path / "run.zip"
    sums = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    (folder / "SHA256SUMS").write_bytes(as_sha256sums(sums))
    document("report", str(folder))
    document("export", str(folder), "--output", str(file))
    assert document("report", str(file), "--output", str(tmp_path / "page.html"))["plots"] == 8
    assert (tmp_path / "page.html").read_text() == (folder / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("profile")
def test_the_report_on_a_run_is_read_from_the_farm(
    farm: Farm, document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with working(farm):
        run: dict[str, Any] = document("run", str(write_suite(tmp_path)))["run"]
    found = document("report", run["id"][-6:])
    assert (found["run_id"], found["file"]) == (run["id"], "report.html")
    assert run["id"] in (tmp_path / "report.html").read_text()


def test_a_run_without_results_has_a_report_without_charts(
    document: Document, tmp_path: Path
) -> None:
    folder = save_run(tmp_path / "results", [], failures())
    assert document("report", str(folder))["plots"] == 0
    assert "unknown encoder" in (folder / "report.html").read_text()


def test_a_missing_package_is_named(
    ffrtmp: Ffrtmp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_run(tmp_path / "results", transcodes())
    (tmp_path / "vl_convert.py").write_text("raise ImportError('no such package')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome = ffrtmp("report", str(folder))
    assert outcome.code == 1
    assert "vl-convert-python is not installed (no such package)" in outcome.err
    assert "pip install vl-convert-python" in outcome.err
    assert not (folder / "report.html").exists()


def test_a_failed_renderer_is_an_error(
    ffrtmp: Ffrtmp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_run(tmp_path / "results", transcodes())
    (tmp_path / "vl_convert.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome = ffrtmp("report", str(folder))
    assert outcome.code == 1
    assert "the renderer ended with -6" in outcome.err


def test_damaged_results_are_refused_by_name(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    folder = save_run(tmp_path / "results", transcodes(), change=lambda d: d["run"].pop("counts"))
    outcome = ffrtmp("report", str(folder))
    assert outcome.code == 1
    assert f"{folder} does not contain results of this release" in outcome.err


def test_a_directory_that_does_not_exist_is_named(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    outcome = ffrtmp("report", str(tmp_path / "nothing"))
    assert outcome.code == 3
    assert f"{tmp_path}/nothing does not exist" in outcome.err
