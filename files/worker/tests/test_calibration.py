"""Tests of the calibration of quality metrics, with an FFmpeg whose XPSNR is wrong at 10 bits."""

import logging
import math
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.ffmpeg.comparison_command import VMAF_MODEL
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure import calibration
from ffrtmp_worker.measure.calibration import (
    COMMON_SIZES,
    Calibration,
    CalibrationFailedError,
    run_calibration,
)
from ffrtmp_worker.measure.filter_scores import xpsnr_of_frames_db
from ffrtmp_worker.measure.quality_graph import Comparison

from .conftest import attempt, make, scenario


def _xpsnr_of_itself_db(ffmpeg: Path, folder: Path, width: int, pixel_format: str) -> float:
    """Return the least XPSNR of frames compared with themselves, without the code under test."""
    graph = f"format={pixel_format},split[a][b];[a][b]xpsnr=stats_file=own.log"
    source = ["-f", "lavfi", "-i", f"testsrc2=size={width}x180:duration=0.08"]
    command = [str(ffmpeg), "-nostdin", "-v", "error", *source, "-filter_complex", graph]
    subprocess.run([*command, "-f", "null", "-"], cwd=folder, check=True)
    return min(plane for frame in xpsnr_of_frames_db(folder / "own.log") for plane in frame)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("width", [320, 336, 330])
def test_xpsnr_is_used_exactly_where_it_is_correct(
    ffmpeg: Path, tmp_path: Path, width: int, pixel_format: str
) -> None:
    found = run_calibration(ffmpeg, Comparison(width, 180, pixel_format, VMAF_MODEL), 2)
    is_correct = math.isinf(_xpsnr_of_itself_db(ffmpeg, tmp_path, width, pixel_format))
    assert ("xpsnr" not in found) is is_correct
    assert set(found) <= {"xpsnr"}
    if not is_correct:
        assert f"for {width}x180 with 10 bits: identical pictures have" in found["xpsnr"]


@pytest.mark.slow
def test_a_wrong_metric_of_a_job_is_unavailable(ffmpeg: Path, tools: Tools, tmp_path: Path) -> None:
    """The width 330 is that of no common source, but XPSNR fails as it does at 854."""
    clip = tmp_path / "clip.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=330x180:rate=25", "-frames:v", "25"]
    make(ffmpeg, picture, ["-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p"], clip)
    spec = scenario(clip, encoder="libx265", preset="ultrafast", pixel_format="yuv420p10le")
    measured = kinds.run_attempt(attempt(spec, clip, tmp_path / "a", tools))
    quality = measured.quality
    assert isinstance(quality, QualityMeasurement)
    assert quality.vmaf_mean > 50
    assert isinstance(quality.psnr_y_mean_db, float)
    assert quality.psnr_y_mean_db > 20
    for value in (quality.xpsnr_y_db, quality.xpsnr_cb_db, quality.xpsnr_cr_db):
        assert isinstance(value, Unavailable)
        assert "the metric is wrong in this FFmpeg build for 330x180 with 10 bits" in value.reason
    uncalibrated = kinds.run_attempt(
        attempt(spec, clip, tmp_path / "b", replace(tools, calibration=None))
    )
    assert isinstance(uncalibrated.quality, QualityMeasurement)
    assert isinstance(uncalibrated.quality.xpsnr_y_db, float)
    assert uncalibrated.quality.xpsnr_y_db < 15, "without a calibration, the value is wrong"


@pytest.mark.parametrize(
    ("scores", "fault"),
    [
        ([97.4, 99.9, 99.9, 40.0], ""),
        ([60.0, 99.9, 99.9, 40.0], "identical pictures have a score of 60.0"),
        ([97.4, 99.9, 99.9, 97.0], "a blurred picture has a score of 97.0"),
        ([math.nan, 99.9, 99.9, 40.0], "identical pictures have a score of nan"),
        ([97.4, 99.9, 99.9, math.nan], "a blurred picture has a score of nan"),
    ],
)
def test_wrong_scores_of_vmaf_are_found(scores: list[float], fault: str) -> None:
    assert calibration._vmaf_fault(scores) == fault


@pytest.mark.parametrize(
    ("scores_db", "slack_db", "fault"),
    [
        ([math.inf, math.inf, 30.1, 25.0], 0.2, ""),
        ([60.0, 60.0, 30.1, 25.0], 0.2, ""),
        ([2.1, math.inf, 30.1, 25.0], 15.0, "identical pictures have 2.1 dB"),
        ([60.0, 60.0, 33.0, 25.0], 0.2, "a difference of 30.1 dB has 33.0 dB"),
        ([60.0, 60.0, math.nan, 25.0], 15.0, "a difference of 30.1 dB has nan dB"),
        ([60.0, 60.0, 30.1, 60.0], 0.2, "a blurred picture has 60.0 dB"),
    ],
)
def test_wrong_scores_in_decibels_are_found(
    scores_db: list[float], slack_db: float, fault: str
) -> None:
    planes = [(score, score, score) for score in scores_db]
    assert calibration._decibel_fault(planes, slack_db) == fault
    assert calibration._decibel_fault(planes[:3], slack_db) == "3 of 4 frames have a score"


def test_wrong_scores_of_ssim_are_found() -> None:
    assert calibration._ssim_fault([1.0, 1.0, 0.99, 0.9]) == ""
    assert "identical" in calibration._ssim_fault([0.9, 1.0, 0.99, 0.8])
    assert "blurred" in calibration._ssim_fault([1.0, 1.0, 0.99, 1.0])
    assert "3 of 4" in calibration._ssim_fault([1.0, 1.0, 0.99])


def test_a_calibration_is_run_once_for_each_build(ffmpeg: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    counted = tmp_path / "ffmpeg"
    counted.write_text(f'#!/bin/sh\necho run >> {runs}\nexec {ffmpeg} "$@"\n')
    counted.chmod(stat.S_IRWXU)
    how = Comparison(330, 180, "yuv420p10le", VMAF_MODEL)

    def count() -> int:
        return len(runs.read_text().splitlines())

    first = Calibration(tmp_path, counted, "a" * 64)
    found = first.faults(how, 2)
    assert set(found) == {"xpsnr"}
    assert first.faults(how, 2) == found
    # Another agent of the host, or the same one after a restart, reads the stored result.
    assert Calibration(tmp_path, counted, "a" * 64).faults(how, 2) == found
    assert count() == 1
    assert Calibration(tmp_path, counted, "b" * 64).faults(how, 2) == found
    assert count() == 2
    (stored,) = tmp_path.glob("calibration-*-aaa*.json")
    stored.write_text("{damaged")
    assert Calibration(tmp_path, counted, "a" * 64).faults(how, 2) == found
    assert count() == 3
    stored.unlink()
    stored.mkdir()
    assert Calibration(tmp_path, counted, "a" * 64).faults(how, 2) == found
    assert count() == 4
    unwritable = Calibration(tmp_path / "missing", counted, "a" * 64)
    assert unwritable.faults(how, 2) == found


def test_an_ffmpeg_that_cannot_be_calibrated(tmp_path: Path) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho 'No such filter' >&2\nexit 8\n")
    broken.chmod(stat.S_IRWXU)
    how = Comparison(320, 180, "yuv420p", VMAF_MODEL)
    with pytest.raises(CalibrationFailedError, match="No such filter"):
        Calibration(None, broken, "a" * 64).faults(how, 2)


def test_a_metric_that_crashes_is_reported(tmp_path: Path) -> None:
    """Libvmaf crashes for some sizes, such as 16x16."""
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nkill -SEGV $$\n")
    broken.chmod(stat.S_IRWXU)
    how = Comparison(16, 16, "yuv420p", VMAF_MODEL)
    with pytest.raises(CalibrationFailedError, match="FFmpeg was ended by SIGSEGV"):
        Calibration(None, broken, "a" * 64).faults(how, 2)


def test_metrics_that_fail_for_usual_sizes_are_logged_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Comparison] = []

    def run(_ffmpeg: Path, how: Comparison, *_: object) -> Mapping[str, str]:
        tried.append(how)
        return {"xpsnr": "wrong"} if how.bits > 8 and how.width % 32 else {}

    monkeypatch.setattr(calibration, "run_calibration", run)
    with caplog.at_level(logging.WARNING):
        Calibration(None, tmp_path, "a" * 64).check_common_sizes(2)
    assert {(how.width, how.bits) for how in tried} == {
        (width, bits) for width, _ in COMMON_SIZES for bits in (8, 10)
    }
    assert {width % 32 == 0 for width, _ in COMMON_SIZES} == {True, False}
    assert len(caplog.records) == 3
