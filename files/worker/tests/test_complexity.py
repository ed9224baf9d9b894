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
from ffrtmp_worker.measure.complexity import Complexity

from .conftest import attempt, make, scenario


def _measure(ffmpeg: Path, file: Path, duration_s: float) -> Complexity:
    found = complexity.measure_complexity(ffmpeg, file.parent, file.name, duration_s, lambda: False)
    assert isinstance(found, Complexity)
    return found


def test_the_bit_depth_does_not_change_the_values(ffmpeg: Path, clip: Path, tmp_path: Path) -> None:
    found = []
    for pixel_format in ("yuv420p", "yuv420p10le", "yuv444p16le"):
        file = tmp_path / f"{pixel_format}.mkv"
        make(
            ffmpeg,
            ["-i", str(clip), "-frames:v", "5"],
            ["-c:v", "ffv1", "-pix_fmt", pixel_format],
            file,
        )
        found.append(_measure(ffmpeg, file, 1.0))
    for other in found[1:]:
        assert other.si_mean == pytest.approx(found[0].si_mean, rel=0.01)
        assert other.ti_mean == pytest.approx(found[0].ti_mean, rel=0.01, abs=0.1)


@pytest.mark.slow
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


def test_each_unavailable_value_has_the_reason(clip: Path, tools: Tools) -> None:
    unavailable = Unavailable(reason="no filter")
    found = complexity.source_measurement(probe_video(tools.ffprobe, clip), unavailable)
    assert {found.si_mean, found.si_max, found.ti_mean, found.ti_max} == {unavailable}
    assert found.characterised_s == unavailable
