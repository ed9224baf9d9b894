"""The slowest test cases of all JUnit XML reports in a folder, and the total time of a run.

Run by `make test` as `python tests/durations.py FOLDER --started-s SECONDS`.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from defusedxml import ElementTree

_SHOWN = 10


class Case(NamedTuple):
    """A test case and how long it took, its set-up included."""

    duration_s: float
    name: str


def read(report: Path) -> list[Case]:
    """Return the test cases of a JUnit XML report.

    Raises OSError or xml.etree.ElementTree.ParseError when the report cannot be read.
    """
    return [
        Case(float(case.get("time", "0")), f"{case.get('classname')}::{case.get('name')}")
        for case in ElementTree.parse(report).iter("testcase")
    ]


def slowest(cases: Iterable[Case], count: int) -> list[Case]:
    """Return the slowest test cases, the slowest first."""
    return sorted(cases, reverse=True)[:count]


def summary(cases: Sequence[Case], total_s: float) -> str:
    """Describe a run.

    Args:
        cases: The test cases of all reports.
        total_s: The wall time of the whole run.

    Returns:
        The text to print: the slowest test cases, then the total.
    """
    lines = ["Slowest tests:"]
    lines += [f"{case.duration_s:8.1f} s  {case.name}" for case in slowest(cases, _SHOWN)]
    minutes, seconds = divmod(round(total_s), 60)
    lines.append(f"Total: {len(cases)} tests in {minutes} min {seconds} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Print the slowest tests and the total time.")
    parser.add_argument("folder", type=Path, help="where the JUnit XML reports are")
    parser.add_argument(
        "--started-s", type=float, required=True, help="when the run started, in Unix time"
    )
    options = parser.parse_args(arguments)
    cases = [case for report in sorted(options.folder.glob("*.xml")) for case in read(report)]
    sys.stdout.write(summary(cases, time.time() - options.started_s) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
