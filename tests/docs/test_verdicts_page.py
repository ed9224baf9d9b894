"""Tests that compare the verdicts' codes and thresholds in docs/results.md with the code."""

import inspect
import re
from pathlib import Path

from ffrtmp_master.store.results import NODE_DRIFT
from ffrtmp_worker import verdict

_PAGE = Path(__file__).resolve().parents[2] / "docs/results.md"


def _rows() -> dict[str, tuple[str, str]]:
    table = _PAGE.read_text(encoding="utf-8").split("<!-- verdicts -->")[1].split("<!-- end -->")[0]
    found = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    return {code: (state.strip(), when.strip()) for code, state, when in found}


def test_exactly_the_codes_of_the_agent_and_the_master_are_explained() -> None:
    source = inspect.getsource(verdict)
    codes = set(re.findall(r'_reason\(\s*"([a-z-]+)"', source))
    codes |= set(re.findall(r'\("([a-z]+-pressure)"', source))
    assert set(_rows()) == codes | {NODE_DRIFT}


def test_the_thresholds_are_those_of_the_page() -> None:
    rows = _rows()
    for code, thresholds in {
        "steal": (verdict.STEAL_DEGRADED, verdict.STEAL_INVALID),
        "other-load": (verdict.OTHER_LOAD_DEGRADED,),
        "memory-pressure": (verdict.MEMORY_PRESSURE_DEGRADED,),
        "io-pressure": (verdict.IO_PRESSURE_DEGRADED,),
    }.items():
        shown = [float(number) / 100 for number in re.findall(r"([\d.]+) %", rows[code][1])]
        assert tuple(shown) == thresholds
    assert f"{verdict.SHORT_DEGRADED_S:g} s" in rows["short"][1]
