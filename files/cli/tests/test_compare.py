"""Tests of ffrtmp compare with generated results."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest
from ffrtmp_analysis.comparison.differences import Pairing
from ffrtmp_cli.comparison.document import ComparisonDocument, ComparisonSettings
from ffrtmp_cli.comparison.run_comparison import compare_runs, compare_within_run
from ffrtmp_cli.comparison.sides import Criterion
from ffrtmp_cli.errors import CommandError
from ffrtmp_client import results
from ffrtmp_client.api import file_sha256
from ffrtmp_client.bundle_writer import bundle_content, write_bundle
from generated_run import GeneratedRun, generate_run, write_run

from .conftest import Document, Ffrtmp

SETTINGS = ComparisonSettings()


def _compared(tmp_path: Path, a: GeneratedRun, b: GeneratedRun) -> ComparisonDocument:
    reads = generate_run(tmp_path / "a", 1, a), generate_run(tmp_path / "b", 2, b)
    return compare_runs(reads, ("old", "new"), SETTINGS)


def _verdicts(document: ComparisonDocument, quantity: str = "speed") -> set[str]:
    return {found.verdict.value for found in document.differences if found.quantity == quantity}


def test_a_slower_run_is_a_regression(tmp_path: Path) -> None:
    document = _compared(tmp_path, GeneratedRun(), GeneratedRun(speed=0.9))
    assert document.conclusion == "regression"
    assert _verdicts(document) == {"slower"}
    assert _verdicts(document, "energy") == {"worse"}
    assert _verdicts(document, "bit_rate") == {"same"}
    assert {found.pairing for found in document.differences} <= {Pairing.NONE, Pairing.EXACT}
    assert document.summary[0].startswith("Regression: new is worse than old by more than")
    worse = [document.differences[number] for number in document.regressions]
    assert {found.quantity.value for found in worse} == {"speed", "cpu_time", "energy"}


def test_without_control_encodes_a_change_of_the_node_is_not_excluded(tmp_path: Path) -> None:
    document = _compared(tmp_path, GeneratedRun(), GeneratedRun())
    assert document.headlines[0].startswith("No node has control encodes on both sides")


def test_shifted_control_encodes_come_first(tmp_path: Path) -> None:
    document = _compared(
        tmp_path,
        GeneratedRun(control_speeds=(5.0, 5.1)),
        GeneratedRun(speed=0.9, control_speeds=(4.5, 4.5)),
    )
    assert document.headlines[0].startswith("The control encodes of worker1 shifted")
    assert document.conclusion == "undecided"


def test_a_disturbed_run_is_not_comparable_in_speed(tmp_path: Path) -> None:
    document = _compared(tmp_path, GeneratedRun(), GeneratedRun(reason="other-load"))
    assert _verdicts(document) == {"not_comparable"}
    assert _verdicts(document, "bit_rate") == {"same"}
    assert document.conclusion == "undecided"
    assert "Of the 20 results of B, 20 are degraded and 0 invalid (other-load 20)." in (
        document.summary
    )


def test_a_difference_is_attributed_to_the_clock(tmp_path: Path) -> None:
    document = _compared(
        tmp_path, GeneratedRun(noise=0.001), GeneratedRun(noise=0.001, speed=0.95, clock_mhz=2880)
    )
    found = next(item for item in document.differences if item.quantity == "speed")
    parts = {part.factor.value: part.change for part in found.parts}
    assert found.change == pytest.approx(-0.05, abs=0.002)
    assert parts["clock"] == pytest.approx(-0.04, abs=0.002)
    assert found.unexplained == pytest.approx(-0.01, abs=0.003)
    assert "% are due to the clock" in document.findings[0]
    assert "are unexplained" in document.findings[0]


def test_what_could_have_been_shown_is_stated(tmp_path: Path) -> None:
    run = GeneratedRun(noise=0.03)
    document = _compared(tmp_path, run, run)
    assert _verdicts(document) == {"not_shown"}
    line = next(text for text in document.summary if text.startswith("Smallest detectable"))
    assert re.search(r"of speed where none was shown: [\d.]+ % to [\d.]+ %; about \d+ rep", line)


def test_an_incomplete_run_is_named(tmp_path: Path) -> None:
    a = generate_run(tmp_path / "a", 1, GeneratedRun())
    b = replace(a, results=a.results[:-1])
    document = compare_runs((a, b), ("old", "new"), SETTINGS)
    assert document.headlines[-2:] == (
        "Both sides are the same run.",
        "Only 19 of the 20 jobs of new have results.",
    )


def test_results_of_another_form_are_refused(tmp_path: Path) -> None:
    a = generate_run(tmp_path / "a", 1, GeneratedRun())
    b = replace(a, results=[{**a.results[0], "measurement": {}}])
    with pytest.raises(CommandError, match="do not have the expected form"):
        compare_runs((a, b), ("old", "new"), SETTINGS)


def test_the_settings_that_differ_are_named(tmp_path: Path) -> None:
    builds = {"farm": 1.0, "mine": 0.9}
    read = generate_run(tmp_path / "a", 1, GeneratedRun(ffmpegs=builds))
    document = compare_within_run(read, Criterion.FFMPEG, ("farm", "mine"), SETTINGS)
    assert [change.name for change in document.changed] == ["FFmpeg"]


@pytest.mark.parametrize(
    ("criterion", "names"),
    [
        (Criterion.FFMPEG, {"ffmpegs": {"farm": 1.0, "mine": 0.9}}),
        (Criterion.NODE, {"nodes": {"worker1": 1.0, "worker2": 0.9}}),
        (Criterion.ENCODE, {"encodes": {"medium": 1.0, "slow": 0.9}}),
    ],
)
def test_parts_of_one_run_are_paired_by_repeat(
    tmp_path: Path, criterion: Criterion, names: dict[str, dict[str, float]]
) -> None:
    read = generate_run(tmp_path / "a", 1, GeneratedRun(**names))  # type: ignore[arg-type]
    (pair,) = names.values()
    first, second = pair
    document = compare_within_run(read, criterion, (first, second), SETTINGS)
    assert _verdicts(document) == {"slower"}
    speeds = [found for found in document.differences if found.quantity == "speed"]
    assert {found.pairing for found in speeds} == {Pairing.ROUNDS}
    assert len(speeds) == 2


def test_builds_of_two_runs_are_not_mixed(tmp_path: Path) -> None:
    builds = {"farm": 1.0, "mine": 0.9}
    document = _compared(tmp_path, GeneratedRun(ffmpegs=builds), GeneratedRun(ffmpegs=builds))
    configurations = {found.configuration for found in document.differences}
    assert configurations == {"x264/800k (farm)", "x264/800k (mine)"}
    assert "not_comparable" not in _verdicts(document)


@pytest.mark.slow
def test_two_directories_are_compared_without_a_farm(
    tmp_path: Path, ffrtmp: Ffrtmp, document: Document
) -> None:
    a = str(write_run(tmp_path / "a", 1, GeneratedRun()))
    b = str(write_run(tmp_path / "b", 2, GeneratedRun(speed=0.9)))
    outcome = ffrtmp("compare", a, b)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[3].startswith("No node has control encodes")
    assert "speed slower: -" in outcome.out
    found = document("compare", a, f"{b}/results.json", "--quantity", "speed")
    assert found["conclusion"] == "regression"
    assert {item["quantity"] for item in found["differences"]} == {"speed"}


def test_a_bundle_is_compared_like_its_directory(tmp_path: Path, ffrtmp: Ffrtmp) -> None:
    a = write_run(tmp_path / "a", 1, GeneratedRun())
    b = write_run(tmp_path / "b", 2, GeneratedRun(speed=0.9))
    digest = {"results.json": file_sha256(b / "results.json")}
    (b / "SHA256SUMS").write_bytes(results.as_sha256sums(digest))
    bundle = tmp_path / "b.zip"
    with bundle.open("wb") as file:
        write_bundle(bundle_content(b, "0.2.0"), file)
    directory, zipped = (ffrtmp("compare", str(a), str(path)) for path in (b, bundle))
    assert zipped.code == 0, zipped.err
    assert "clip1/x264/800k  speed" in zipped.out
    assert zipped.out.splitlines()[6:] == directory.out.splitlines()[6:]


@pytest.mark.parametrize(
    ("b", "code"),
    [
        (GeneratedRun(), 0),
        (GeneratedRun(speed=0.9), 5),
        (GeneratedRun(reason="steal"), 6),
        (GeneratedRun(repeats=1), 6),
    ],
)
def test_the_exit_code_is_the_conclusion(
    tmp_path: Path, ffrtmp: Ffrtmp, b: GeneratedRun, code: int
) -> None:
    paths = [str(write_run(tmp_path / "a", 1, GeneratedRun()))]
    paths.append(str(write_run(tmp_path / "b", 2, b)))
    assert ffrtmp("compare", *paths).code == 0
    outcome = ffrtmp("compare", *paths, "--fail-on-regression")
    assert outcome.code == code, outcome.out
    assert bool(outcome.err) == bool(code)


def test_files_for_pull_requests_and_ci(tmp_path: Path, ffrtmp: Ffrtmp) -> None:
    a = str(write_run(tmp_path / "a", 1, GeneratedRun()))
    b = str(write_run(tmp_path / "b_1", 2, GeneratedRun(speed=0.9)))
    markdown, junit = tmp_path / "c.md", tmp_path / "c.xml"
    outcome = ffrtmp("compare", a, b, "--markdown", str(markdown), "--junit", str(junit))
    assert outcome.code == 0, outcome.err
    text = markdown.read_text()
    assert "**Regression: " in text
    assert "b\\_1" in text
    rows = [line for line in text.splitlines() if line.startswith("| clip")]
    assert len(rows) == 2 * 5
    suite = Tree.parse(junit).getroot()[0]  # noqa: S314 - the test wrote it
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("10", "6", "0")
    assert len(suite.findall("testcase/failure")) == 6
    printed = ffrtmp("compare", a, b, "--markdown", "-")
    assert printed.out == text


@pytest.fixture
def two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directories a and b with results, in the current directory."""
    write_run(tmp_path / "a", 1, GeneratedRun())
    write_run(tmp_path / "b", 2, GeneratedRun())
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a"], 2, "name either two runs"),
        (["a", "b", "--nodes", "x", "y"], 2, "name either two runs"),
        (["a", "--nodes", "worker1", "other"], 3, "It has: worker1"),
        (["a", "--nodes", "worker1", "worker1"], 2, "both sides are"),
        (["a", "absent/results.json"], 1, "cannot be read"),
        (["a", "b", "--json", "--markdown", "-"], 2, "name a file for --markdown"),
    ],
)
def test_wrong_arguments_say_what_to_do(
    ffrtmp: Ffrtmp, arguments: list[str], code: int, message: str
) -> None:
    outcome = ffrtmp("compare", *arguments)
    assert outcome.code == code, outcome.err
    error = outcome.err
    if "--json" in arguments:
        error = json.loads(error)["detail"]
    assert message in error


@pytest.mark.deep
@pytest.mark.parametrize(("speed", "code"), [(1.0, 0), (0.95, 5)])
def test_a_shell_fails_on_regressions_only(tmp_path: Path, speed: float, code: int) -> None:
    codes = []
    for number in range(20):
        a, b = tmp_path / f"a{number}", tmp_path / f"b{number}"
        write_run(a, 2 * number, GeneratedRun(clips=4))
        write_run(b, 2 * number + 1, GeneratedRun(clips=4, speed=speed))
        command = [sys.executable, "-m", "ffrtmp_cli", "compare", str(a), str(b)]
        done = subprocess.run([*command, "--fail-on-regression"], capture_output=True, check=False)
        codes.append(done.returncode)
    assert codes == [code] * 20
