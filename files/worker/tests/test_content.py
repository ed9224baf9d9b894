"""How much there is to encode in a source."""

import re
import subprocess
from pathlib import Path

import pytest
from ffrtmp_shared.measurement import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.ffmpeg.probe import probe_video
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure import complexity
from ffrtmp_worker.measure.complexity import Complexity, ComplexityCache

from .conftest import attempt, make, scenario

FOUND = Complexity(characterised_s=1.0, si_mean=2.0, si_max=3.0, ti_mean=4.0, ti_max=5.0)


def _look(ffmpeg: Path, file: Path, duration_s: float) -> Complexity:
    found = complexity.measure_complexity(ffmpeg, file.parent, file.name, duration_s, lambda: False)
    assert isinstance(found, Complexity)
    return found


def test_the_numbers_are_those_of_the_filter(
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
    said = done.stderr.rpartition("Total frames: 40")[2]
    means = [float(value) for value in re.findall(r"Average: (\S+)", said)]
    most = [float(value) for value in re.findall(r"Max: (\S+)", said)]
    assert [measured.si_mean, measured.ti_mean] == means
    assert [measured.si_max, measured.ti_max] == most


def test_what_stands_still_has_no_temporal_information(ffmpeg: Path, tmp_path: Path) -> None:
    for name, picture in (("still", "smptebars"), ("moving", "testsrc2")):
        generated = ["-f", "lavfi", "-i", f"{picture}=size=320x180:rate=25:duration=1"]
        make(ffmpeg, generated, ["-c:v", "libx264", "-qp", "0"], tmp_path / f"{name}.mp4")
    still = _look(ffmpeg, tmp_path / "still.mp4", 1.0)
    moving = _look(ffmpeg, tmp_path / "moving.mp4", 1.0)
    assert still.ti_max == pytest.approx(0, abs=0.01)
    assert moving.ti_mean > 5
    assert still.si_mean > 5


def test_a_long_source_is_looked_at_for_ten_seconds(ffmpeg: Path, tmp_path: Path) -> None:
    generated = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=12"]
    make(ffmpeg, generated, ["-c:v", "libx264"], tmp_path / "long.mp4")
    assert _look(ffmpeg, tmp_path / "long.mp4", 12.0).characterised_s == 10


def test_what_cannot_be_looked_at_gives_a_reason(ffmpeg: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    found = complexity.measure_complexity(ffmpeg, tmp_path, "text.mp4", 1.0, lambda: False)
    assert found == Unavailable(reason="FFmpeg's filter siti could not analyze the source")


def test_a_source_is_looked_at_once(tmp_path: Path) -> None:
    looks: list[int] = []

    def look() -> Complexity:
        looks.append(1)
        return FOUND

    for _ in range(2):
        assert ComplexityCache(tmp_path, "f" * 64).get_or_measure("a" * 64, look) == FOUND
    assert len(looks) == 1
    # Another build may find something else, and another source surely does.
    ComplexityCache(tmp_path, "e" * 64).get_or_measure("a" * 64, look)
    ComplexityCache(tmp_path, "f" * 64).get_or_measure("b" * 64, look)
    assert len(looks) == 3


def test_a_damaged_note_is_made_anew(tmp_path: Path) -> None:
    ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: FOUND)
    (note,) = tmp_path.iterdir()
    note.write_bytes(note.read_bytes()[:20])
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: FOUND) == FOUND
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, pytest.fail) == FOUND


def test_what_was_not_found_is_not_noted(tmp_path: Path) -> None:
    gone = Unavailable(reason="no filter")
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: gone) == gone
    assert ComplexityCache(tmp_path).get_or_measure("a" * 64, lambda: FOUND) == FOUND


def test_describing_gives_the_reason_for_each(clip: Path, tools: Tools) -> None:
    gone = Unavailable(reason="no filter")
    found = complexity.source_measurement(probe_video(tools.ffprobe, clip), gone)
    assert {found.si_mean, found.si_max, found.ti_mean, found.ti_max} == {gone}
    assert found.characterised_s == gone
