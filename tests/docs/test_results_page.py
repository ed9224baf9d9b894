"""Tests that docs/results.md explains every column and every measured value of an encode."""

import re
from pathlib import Path

from ffrtmp_master.exports import formats
from ffrtmp_shared.measurement import EncodeMeasurement

from .page import Page

_PAGE = Page(Path(__file__).resolve().parents[2] / "docs/results.md")
_PROCESS = "`measurement.encode`: the FFmpeg process"
_COLUMNS = "Columns of `results.csv` and exports"


def _named(heading: str) -> list[str]:
    return [name for row in _PAGE.table(heading) for name in re.findall(r"`(\w+)`", row[0])]


def test_every_column_is_explained_once() -> None:
    assert sorted(_named(_COLUMNS)) == sorted(column.name for column in formats.COLUMNS)


def test_every_value_of_the_process_is_explained() -> None:
    assert sorted(_named(_PROCESS)) == sorted(EncodeMeasurement.__struct_fields__)
