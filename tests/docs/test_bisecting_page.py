"""Tests of docs/bisecting.md: its commands are valid, and its tables are complete."""

import re
import subprocess
from pathlib import Path

import click
import pytest
from ffrtmp_analysis.bisection import search
from ffrtmp_cli.bisection.batch_suite import read_bisected_suite
from ffrtmp_cli.bisection.measured_results import QUANTITIES
from ffrtmp_cli.commands import bisect


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/bisecting.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_are_valid(page: str, root: Path) -> None:
    """A deep test runs the first one. The second one needs the programs of several releases."""
    commands = re.findall(r"^\$ ffrtmp bisect ((?:.*\\\n)*.*)$", page, re.MULTILINE)
    assert len(commands) == 2
    parsed = []
    for line in commands:
        shown = subprocess.run(
            ["/bin/bash", "-c", f"printf '%s\\n' {line}"],
            capture_output=True,
            text=True,
            check=True,
        )
        context = bisect.command.make_context("bisect", shown.stdout.splitlines())
        parsed.append(context.params)
    assert parsed[0]["builds"] == tuple(f"ffmpeg{number}" for number in range(1, 10))
    releases = parsed[1]
    suite = read_bisected_suite(root / releases["suite"], releases["scenario"])
    places = {(root / releases["suite"]).parent / str(b.file) for b in suite.suite.ffmpegs}
    known = {str(place.resolve().relative_to(root)) for place in places}
    assert set(releases["builds"]) <= known


def test_the_page_has_all_options_quantities_and_outcomes(page: str) -> None:
    options = {
        name
        for parameter in bisect.command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    }
    assert set(re.findall(r"`(--[a-z-]+)`", page)) <= options
    (names,) = [p.type.choices for p in bisect.command.params if isinstance(p.type, click.Choice)]
    assert tuple(names) == tuple(quantity.value for quantity in QUANTITIES)
    assert all(f"`{name}`" in page for name in names)
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([01]) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == [outcome.value for outcome in search.Outcome]
