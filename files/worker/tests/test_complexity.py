"""Tests of the complexity of a source: its spatial and temporal information."""

import re
import subprocess
from pathlib import Path

import pytest
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.ffmpeg.probe import probe_video
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure import complexity
from ffrtmp_worker.measure.complexity import Complexity, ComplexityCache

from .conftest import attempt, make, scenario

FOUND = Complexity(characterised_s=1.0, si_mean=2.0, si_max=3.0, ti_mean=4.0, ti_max=5.0)


def _measure(ffmpeg: Path, file: Path, duration_s: float) -> Complexity:
    found = complexity.measure_complexity(ffmpeg, file.parent, file.name, duration_s, lambda: False)
    assert isinstance(found, Complexity)
    return found


def test_values_equal_those_of_the_filter(
    ffmpeg: Path, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    measured = kinds.run_attempt(attempt(scenario(clip), clip, tmp_path / "a", tools)).source
    assert measured is not None
    assert (measured.frames, measured.width, measured.characterised_s) == (40, 320, 1.6)
    done = subprocess.run(
        [str(ffmpeg), "-i", str(clip), "-vf", "siti=print_summary=1", "-f", "null", "-"],
        check=True,
        capture_output=True,
        text=True,
    )
    summary = done.stderr.rpartition("Total frames: 40")[2]
    means = [float(value) for value in re.findall(r"Average: (\S+)", summary)]
    most = [float(value) for value in re.findall(r"Max: (\S+)", summary)]
    assert [measured.si_mean, measured.ti_mean] == means
    assert [measured.si_max, measured.ti_max] == most


def test_a_still_picture_has_no_temporal_information(ffmpeg: Path, tmp_path: Path) -> None:
    for name, picture in (("still", "smptebars"), ("moving", "testsrc2")):
        generated = ["-f", "lavfi", "-i", f"{picture}=size=320x180:rate=25:duration=1"]
        make(ffmpeg, generated, ["-c:v", "libx264", "-qp", "0"], tmp_path / f"{name}.mp4")
    still = _measure(ffmpeg, tmp_path / "still.mp4", 1.0)
    moving = _measure(ffmpeg, tmp_path / "moving.mp4", 1.0)
    assert still.ti_max == pytest.approx(0, abs=0.01)
    assert moving.ti_mean > 5
    assert still.si_mean > 5


def test_a_long_source_is_measured_for_ten_seconds(ffmpeg: Path, tmp_path: Path) -> None:
    generated = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=12"]
    make(ffmpeg, generated, ["-c:v", "libx264"], tmp_path / "long.mp4")
    assert _measure(ffmpeg, tmp_path / "long.mp4", 12.0).characterised_s == 10


def test_an_unreadable_source_is_unavailable_with_a_reason(ffmpeg: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    found = complexity.measure_complexity(ffmpeg, tmp_path, "text.mp4", 1.0, lambda: False)
    assert found == Unavailable(reason="FFmpeg's filter siti could not analyze the source")


def test_a_source_is_measured_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def measure() -> Complexity:
        calls.append(1)
        return FOUND

    for _ in range(2):
        assert ComplexityCache(tmp_path, "f" * 64).get_or_measure("a" * 64, measure) == FOUND
    assert len(calls) == 1
    # The cached values are valid for one FFmpeg build and one source only.
    ComplexityCache(tmp_path, "e" * 64).get_or_measure("a" * 64, measure)
    ComplexityCache(tmp_path, "f" * 64).get_or_measure("b" * 64, measure)
    assert len(calls) == 3


def test_a_damaged_cache_entry_is_replaced(tmp_path: Path) -> None:
    ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: FOUND)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:20])
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: FOUND) == FOUND
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, pytest.fail) == FOUND


def test_a_cache_that_cannot_be_written_does_not_lose_the_values(tmp_path: Path) -> None:
    (tmp_path / f"content-{'a' * 64}-.json").mkdir()
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: FOUND) == FOUND
    assert ComplexityCache(tmp_path / "absent").get_or_measure("a" * 64, lambda: FOUND) == FOUND


def test_an_unavailable_value_is_not_cached(tmp_path: Path) -> None:
    unavailable = Unavailable(reason="no filter")
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: unavailable) == unavailable
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: FOUND) == FOUND


def test_each_unavailable_value_has_the_reason(clip: Path, tools: Tools) -> None:
    unavailable = Unavailable(reason="no filter")
    found = complexity.source_measurement(probe_video(tools.ffprobe, clip), unavailable)
    assert {found.si_mean, found.si_max, found.ti_mean, found.ti_max} == {unavailable}
    assert found.characterised_s == unavailable
