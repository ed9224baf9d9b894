"""Tests of ffrtmp suite: new, check and plan."""

from pathlib import Path

import pytest
from modules.farm import Agent

from .conftest import Document, Ffrtmp
from .suite_file import write_suite


def test_a_new_suite_is_valid(document: Document, tmp_path: Path) -> None:
    """Its clips have names that suites do not accept, and the same name in other directories."""
    clips = [tmp_path / "a" / "my clip: #1.mp4", tmp_path / "b" / "my clip: #1.mp4"]
    for number, clip in enumerate(clips):
        clip.parent.mkdir()
        clip.write_bytes(bytes([number]))
    suite = tmp_path / "suites" / "new.yml"
    suite.parent.mkdir()
    created = document("suite", "new", *map(str, clips), "--output", str(suite))
    assert (created["scenarios"], created["repeats"]) == (16, 6)
    checked = document("suite", "check", str(suite))
    assert (checked["name"], len(checked["scenarios"])) == ("new", 16)
    assert checked["files"] == ["../a/my clip: #1.mp4", "../b/my clip: #1.mp4"]


def test_an_existing_suite_is_not_replaced(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    before = suite.read_text()
    outcome = ffrtmp("suite", "new", str(tmp_path / "clip.mp4"), "-o", str(suite))
    assert outcome.code == 2
    assert suite.read_text() == before


def test_an_unknown_encoder_is_not_written(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    write_suite(tmp_path)
    suite = tmp_path / "new.yml"
    arguments = ("suite", "new", str(tmp_path / "clip.mp4"), "-o", str(suite))
    outcome = ffrtmp(*arguments, "--encode", "libx266")
    assert outcome.code == 2
    assert "'libx266' is not known" in outcome.err
    assert not suite.exists()


def test_check_reports_all_problems_with_positions(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, libx264="libx266", **{"repeats: 2": "repeats: 0"})
    outcome = ffrtmp("suite", "check", str(suite))
    assert outcome.code == 2
    assert f"{suite}:9:5: " in outcome.err
    assert f"{suite}:12:1: " in outcome.err


def test_check_of_a_missing_suite_ends_with_3(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    outcome = ffrtmp("suite", "check", str(tmp_path / "absent.yml"))
    assert outcome.code == 3
    assert "absent.yml does not exist" in outcome.err


def test_a_missing_directory_is_named(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    write_suite(tmp_path)
    suite = tmp_path / "absent" / "new.yml"
    outcome = ffrtmp("suite", "new", str(tmp_path / "clip.mp4"), "-o", str(suite))
    assert outcome.code == 2
    assert f"the directory {suite.parent} does not exist" in outcome.err


def test_one_scenario_is_not_plural(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    assert ": 1 scenario; the suite is valid" in ffrtmp("suite", "check", str(suite)).out
    new = ("suite", "new", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "new.yml"))
    outcome = ffrtmp(*new, "--encode", "libx264", "--bitrate-kbps", "800", "--repeats", "1")
    assert "1 scenario, each measured 1 time on each node" in outcome.out


def test_check_reports_a_changed_clip(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    (tmp_path / "clip.mp4").unlink()
    outcome = ffrtmp("suite", "check", str(suite))
    assert outcome.code == 2
    assert "clip.mp4 does not exist" in outcome.err


@pytest.mark.usefixtures("profile")
def test_a_plan_has_encodes_minutes_and_bytes(
    agent: Agent, document: Document, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    """A plan queues nothing."""
    content = tmp_path.name.encode()
    suite = write_suite(tmp_path, content)
    before = len(document("runs")["runs"])
    found = document("suite", "plan", str(suite))
    assert (found["encodes"], found["nodes"], found["upload_bytes"]) == (
        2,
        ["worker1"],
        len(content),
    )
    assert found["upload_files"] == [str(tmp_path / "clip.mp4")]
    outcome = ffrtmp("suite", "plan", str(suite))
    assert "2 jobs on 1 node (worker1)" in outcome.out
    assert f"To upload: {len(content)} bytes" in outcome.out
    assert len(document("runs")["runs"]) == before
