"""Tests that docs/results.md explains every column and every measured value of an encode."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ffrtmp_master.exports import formats
from ffrtmp_shared.measurement import EncodeMeasurement
from report_results import save_run, transcodes

from .page import ROOT, Page

_PAGE = Page(Path(__file__).resolve().parents[2] / "docs/results.md")
_PROCESS = "`measurement.encode`: the FFmpeg process"
_COLUMNS = "Columns of `results.csv` and exports"


def _named(heading: str) -> list[str]:
    return [name for row in _PAGE.table(heading) for name in re.findall(r"`(\w+)`", row[0])]


def test_every_column_is_explained_once() -> None:
    assert sorted(_named(_COLUMNS)) == sorted(column.name for column in formats.COLUMNS)


def test_every_value_of_the_process_is_explained() -> None:
    assert sorted(_named(_PROCESS)) == sorted(EncodeMeasurement.__struct_fields__)


@pytest.mark.slow
def test_the_commands_write_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    save_run(tmp_path / "results/latest", transcodes())
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\$ (ffrtmp .*)$", text, re.MULTILINE)
    program = Path(sys.executable).with_name("ffrtmp")
    arguments = [str(program), *shlex.split(command)[1:]]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["results/latest/report.html", "report.md"]
    assert "Bit rate (kbit/s)" in (tmp_path / "report.md").read_text()
    assert "<svg " in (tmp_path / "results/latest/report.html").read_text()
