"""Tests of the calibration of ffprobe, with right and wrong programs."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure.probe_calibration import ProbeCalibrationError, find_probe_fault

from .conftest import attempt, scenario


def _wrapped(ffprobe: Path, folder: Path, change: str) -> Path:
    """Return a program that changes the output of ffprobe with a command of sed."""
    program = folder / "ffprobe"
    command = f'{shlex.quote(str(ffprobe))} "$@" | sed {shlex.quote(change)}'
    program.write_text(f"#!/bin/sh\n{command}\n", encoding="ascii")
    program.chmod(0o755)
    return program


def test_an_ffprobe_that_is_right_has_no_fault(each_ffmpeg: Path, ffprobe: Path) -> None:
    assert find_probe_fault(each_ffmpeg, ffprobe) == ""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("s/|width=66/|width=64/", "the size of a clip is (64, 50), not (66, 50)"),
        ("4,5d", "the number of frames of a clip is 28, not 30"),
        ("s/^packet.*//", "known.mp4 has no video"),
    ],
)
def test_wrong_values_are_named(
    change: str, fault: str, ffmpeg: Path, ffprobe: Path, tmp_path: Path
) -> None:
    found = find_probe_fault(ffmpeg, _wrapped(ffprobe, tmp_path, change))
    assert fault in found


def test_a_clip_that_cannot_be_generated_says_nothing(ffprobe: Path) -> None:
    with pytest.raises(ProbeCalibrationError):
        find_probe_fault(Path("/bin/false"), ffprobe)


def test_a_wrong_ffprobe_measures_nothing(clip: Path, tools: Tools, tmp_path: Path) -> None:
    wrong = replace(tools, probe_fault="the frame rate of a clip is 15, not 30000/1001")
    with pytest.raises(AttemptFailedError) as caught:
        kinds.run_attempt(attempt(scenario(clip), clip, tmp_path / "a", wrong))
    assert caught.value.failure_class is FailureClass.NODE
    assert "ffprobe of this node is wrong: the frame rate" in str(caught.value)
