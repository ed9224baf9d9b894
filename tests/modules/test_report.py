"""Tests of the module ffrtmp_report."""

from pathlib import Path

import ffrtmp_report
import pytest
from report_results import failures, save_run, transcodes

from .conftest import RunModule

CHECK = {"_ansible_check_mode": True}


@pytest.mark.slow
def test_the_report_is_written_once(run_module: RunModule, tmp_path: Path) -> None:
    folder = save_run(tmp_path / "results", transcodes())
    planned = run_module(ffrtmp_report, path=str(folder), **CHECK)
    assert planned["changed"] is True
    assert planned["diff"]["after"] == "report.html\n"
    assert not (folder / "report.html").exists()

    answer = run_module(ffrtmp_report, path=str(folder))
    assert (answer["rc"], answer["changed"], answer["plots"]) == (0, True, 8)
    assert answer["report"] == str(folder / "report.html")
    # The time is the end of the run, as that of the other files.
    assert (folder / "report.html").stat().st_mtime == 1767326645

    again = run_module(ffrtmp_report, path=str(folder))
    assert (again["changed"], again["diff"]["after"]) == (False, "")


def test_a_run_with_only_failures_has_a_report(run_module: RunModule, tmp_path: Path) -> None:
    folder = save_run(tmp_path / "results", [], failures())
    answer = run_module(ffrtmp_report, path=str(folder))
    assert (answer["rc"], answer["plots"]) == (0, 0)


def test_a_missing_package_is_named(
    run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_run(tmp_path / "results", transcodes())
    (tmp_path / "vl_convert.py").write_text("raise ImportError('no such package')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = run_module(ffrtmp_report, path=str(folder))
    assert answer["rc"] == 1
    assert "vl-convert-python is not installed (no such package)" in answer["msg"]


def test_a_directory_without_results_is_named(run_module: RunModule, tmp_path: Path) -> None:
    answer = run_module(ffrtmp_report, path=str(tmp_path))
    assert answer["rc"] == 1
    assert f"{tmp_path}/results.json cannot be read" in answer["msg"]
