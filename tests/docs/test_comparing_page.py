"""Tests of docs/comparing.md and docs/statistics.md: their examples show what they print."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ffrtmp_analysis.comparison.differences import ComparisonVerdict
from ffrtmp_analysis.comparison.recorded_factors import Factor
from ffrtmp_analysis.statistics.detectability import repeats_for_interval
from generated_run import GeneratedRun, write_run

from .page import ROOT, Page

_PROJECT = (
    "ansible.cfg",
    "group_vars",
    "inventories",
    "library",
    "module_utils",
    "playbooks",
    "plugins",
)
_CONTROLS = (5.0, 5.02)
RUNS = {
    "old": GeneratedRun(clips=1, control_speeds=_CONTROLS),
    "new": GeneratedRun(
        clips=1, speed=0.95, clock_mhz=2880, bitrate_kbps=992, control_speeds=_CONTROLS
    ),
    "builds": GeneratedRun(clips=3, ffmpegs={"farm": 1.0, "mine": 1.04}),
}
"""The results of the examples, by the names of their directories."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with the playbooks of the project and the results of the examples."""
    for name in _PROJECT:
        (tmp_path / name).symlink_to(ROOT / name)
    for seed, (name, run) in enumerate(RUNS.items(), start=1):
        write_run(tmp_path / "results" / name, seed, run)
    return tmp_path


def _run(commands: str, folder: Path) -> str:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["comparing.md", "statistics.md"])
def test_every_example_prints_what_the_page_shows(name: str, checkout: Path) -> None:
    steps = Page(ROOT / "docs" / name).steps()
    assert steps
    for step in steps:
        printed = _run(step.commands.text, checkout)
        if step.shown is not None:
            assert printed == step.shown.text, f"docs/{name}, line {step.shown.line}"
        if "--fail-on-regression" in step.commands.text:
            assert printed.endswith("exit code 5\n")
            assert (checkout / "comparison.md").read_text().startswith("### results/old")


def test_every_verdict_has_a_meaning() -> None:
    rows = Page(ROOT / "docs/comparing.md").table("Compare two runs")
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    assert named == {verdict.value.replace("_", " ") for verdict in ComparisonVerdict}


def test_every_factor_has_a_formula() -> None:
    rows = Page(ROOT / "docs/statistics.md").table("Attribution")
    assert [row[0] for row in rows] == [*[factor.value for factor in Factor], "unexplained"]


def test_the_repeats_are_those_of_the_tests() -> None:
    rows = Page(ROOT / "docs/statistics.md").table("Many comparisons")
    assert len(rows) == 4
    for comparisons, *repeats in rows:
        level = 0.05 / int(comparisons)
        computed = [repeats_for_interval(level, is_paired=paired) for paired in (False, True)]
        assert [int(number) for number in repeats] == computed
