"""Program that summarizes a test run: its failures, its slowest test cases, and its total time.

It reads the JUnit XML reports in a folder. `make test` runs it as
`python tests/run_summary.py FOLDER --started-s SECONDS`.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from defusedxml import ElementTree

_SLOWEST_COUNT = 10
_MESSAGE_LENGTH = 2000


class Case(NamedTuple):
    """A test case, its duration including the set-up, and the message of its failure."""

    duration_s: float
    name: str
    failure: str | None = None


def read_report(report: Path) -> list[Case]:
    """Return the test cases of a JUnit XML report.

    Raises OSError or xml.etree.ElementTree.ParseError if the report cannot be read.
    """
    cases = []
    for case in ElementTree.parse(report).iter("testcase"):
        failures = [child for child in case if child.tag in {"failure", "error"}]
        failure = failures[0].get("message", "")[:_MESSAGE_LENGTH] if failures else None
        name = f"{case.get('classname')}::{case.get('name')}"
        cases.append(Case(float(case.get("time", "0")), name, failure))
    return cases


def slowest(cases: Iterable[Case], count: int) -> list[Case]:
    """Return the slowest test cases, the slowest first."""
    return sorted(cases, key=lambda case: (case.duration_s, case.name), reverse=True)[:count]


def summary(cases: Sequence[Case], total_s: float) -> str:
    """Describe a test run.

    Args:
        cases: The test cases of all reports.
        total_s: The wall time of the whole run.

    Returns:
        The text to print: the slowest test cases, the failures, and the total.
    """
    lines = ["Slowest tests:"]
    lines += [f"{case.duration_s:8.1f} s  {case.name}" for case in slowest(cases, _SLOWEST_COUNT)]
    failed = [case for case in cases if case.failure is not None]
    if failed:
        lines.append("Failed tests:")
        for case in failed:
            lines.append(f"  {case.name}")
            lines += [f"      {line}" for line in (case.failure or "").splitlines()]
    minutes, seconds = divmod(round(total_s), 60)
    failures = f", {len(failed)} failed," if failed else ""
    lines.append(f"Total: {len(cases)} tests{failures} in {minutes} min {seconds} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Print failures, slow tests and the total time.")
    parser.add_argument("folder", type=Path, help="folder of the JUnit XML reports")
    parser.add_argument(
        "--started-s", type=float, required=True, help="start of the run, in Unix time"
    )
    options = parser.parse_args(arguments)
    cases = [
        case for report in sorted(options.folder.glob("*.xml")) for case in read_report(report)
    ]
    sys.stdout.write(summary(cases, time.time() - options.started_s) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
