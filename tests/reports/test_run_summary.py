"""Tests of the summary that is printed at the end of a run of all tests."""

import os
import subprocess
import sys
import time
from pathlib import Path

_REPORT = """<?xml version="1.0"?>
<testsuites><testsuite name="pytest" tests="{count}">{cases}</testsuite></testsuites>
"""


def write_report(file: Path, durations_s: list[float]) -> None:
    cases = "".join(
        f'<testcase classname="{file.stem}" name="test_{number}" time="{duration_s}"/>'
        for number, duration_s in enumerate(durations_s)
    )
    file.write_text(_REPORT.format(count=len(durations_s), cases=cases), encoding="utf-8")


def test_the_ten_slowest_of_all_reports_and_the_total_are_printed(
    root: Path, tmp_path: Path
) -> None:
    write_report(tmp_path / "unit.xml", [float(number) for number in range(12)])
    write_report(tmp_path / "farm.xml", [100.25])
    command = [sys.executable, str(root / "tests/run_summary.py"), str(tmp_path)]
    command += ["--started-s", str(time.time() - 125)]
    printed = subprocess.run(
        command, env=os.environ, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert printed[1].split() == ["100.2", "s", "farm::test_0"]
    assert [line.split()[2] for line in printed[2:-1]] == [
        f"unit::test_{number}" for number in range(11, 2, -1)
    ]
    assert printed[-1].startswith("Total: 13 tests in 2 min ")


def test_failed_tests_are_printed_with_their_messages(root: Path, tmp_path: Path) -> None:
    case = '<testcase classname="ha" name="test_{}" time="1"><{}  message="{}"/></testcase>'
    cases = case.format("one", "failure", "assert 0 == 1") + case.format("two", "error", "no host")
    report = _REPORT.format(count=2, cases=cases)
    (tmp_path / "ha.xml").write_text(report, encoding="utf-8")
    command = [sys.executable, str(root / "tests/run_summary.py"), str(tmp_path)]
    command += ["--started-s", str(time.time())]
    printed = subprocess.run(command, env=os.environ, check=True, capture_output=True, text=True)
    assert printed.stdout.splitlines()[3:-1] == [
        "Failed tests:",
        "  ha::test_one",
        "      assert 0 == 1",
        "  ha::test_two",
        "      no host",
    ]
    assert printed.stdout.splitlines()[-1].startswith("Total: 2 tests, 2 failed, in 0 min ")
