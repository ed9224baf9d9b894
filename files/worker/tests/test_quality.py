"""VMAF with a real libvmaf, and the cases in which there must be none."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from ffrtmp_shared.measurement import QualityMeasurement, Unavailable
from ffrtmp_worker.ffmpeg.probe import probe
from ffrtmp_worker.measure import quality

from .conftest import make


@pytest.fixture(scope="module")
def worse(ffmpeg: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip, much compressed."""
    return _made(ffmpeg, clip, tmp_path_factory, [], crf="36")


@pytest.fixture(scope="module")
def shifted(ffmpeg: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many frames as the clip has, each of which is the one after."""
    shift = ["-vf", "trim=start_frame=1,setpts=PTS-STARTPTS,tpad=stop=1:stop_mode=clone"]
    return _made(ffmpeg, clip, tmp_path_factory, shift, crf="12")


def _made(
    ffmpeg: Path, clip: Path, folders: pytest.TempPathFactory, filters: list[str], *, crf: str
) -> Path:
    target = folders.mktemp("made") / "output.mp4"
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-crf", crf, "-pix_fmt", "yuv420p"]
    make(ffmpeg, ["-i", str(clip), *filters], coding, target)
    return target


def _compare(
    tools_ffmpeg: Path, ffprobe: Path, folder: Path, distorted: Path, reference: Path
) -> QualityMeasurement | Unavailable:
    shutil.copyfile(distorted, folder / "a.mp4")
    shutil.copyfile(reference, folder / "b.mp4")
    how = quality.QualityPass(ffmpeg=tools_ffmpeg, folder=folder, threads=2, deadline_s=60)
    return quality.measure(
        how,
        distorted=quality.Clip(name="a.mp4", probe=probe(ffprobe, distorted)),
        reference=quality.Clip(name="b.mp4", probe=probe(ffprobe, reference)),
        stop=lambda: False,
    )


def test_a_clip_against_itself(ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path) -> None:
    found = _compare(ffmpeg, ffprobe, tmp_path, clip, clip)
    assert isinstance(found, QualityMeasurement)
    assert found.vmaf_mean > 95
    assert (found.pairs, found.vmaf_model) == (40, "vmaf_v0.6.1")


def test_pooling_agrees_with_libvmaf_and_order_matters(
    ffmpeg: Path, ffprobe: Path, clip: Path, worse: Path, tmp_path: Path
) -> None:
    right = _compare(ffmpeg, ffprobe, tmp_path, worse, clip)
    pooled = msgspec.json.decode((tmp_path / quality.LOG_NAME).read_bytes())["pooled_metrics"]
    wrong = _compare(ffmpeg, ffprobe, tmp_path, clip, worse)
    assert isinstance(right, QualityMeasurement)
    assert isinstance(wrong, QualityMeasurement)
    assert right.vmaf_mean == pytest.approx(pooled["vmaf"]["mean"], abs=1e-4)
    assert right.vmaf_harmonic_mean == pytest.approx(pooled["vmaf"]["harmonic_mean"], abs=1e-4)
    assert right.vmaf_min == pytest.approx(pooled["vmaf"]["min"], abs=1e-4)
    assert right.vmaf_min <= right.vmaf_p1 <= right.vmaf_p5 <= right.vmaf_mean < 90
    assert abs(right.vmaf_mean - wrong.vmaf_mean) > 1


def test_a_shift_by_one_frame_is_found(
    ffmpeg: Path, ffprobe: Path, clip: Path, shifted: Path, tmp_path: Path
) -> None:
    found = _compare(ffmpeg, ffprobe, tmp_path, shifted, clip)
    assert isinstance(found, Unavailable)
    assert "when shifted by 1" in found.reason


def test_another_number_of_frames(ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path) -> None:
    shorter = tmp_path / "shorter.mp4"
    make(ffmpeg, ["-i", str(clip)], ["-frames:v", "39", "-c:v", "libx264"], shorter)
    found = _compare(ffmpeg, ffprobe, tmp_path, shorter, clip)
    assert found == Unavailable(reason="the output has 39 frames and the source 40")


def test_frames_that_are_lost_in_decoding(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    """What the container promises is not enough: the decoded frames are counted."""
    shorter = tmp_path / "shorter.mp4"
    make(ffmpeg, ["-i", str(clip)], ["-frames:v", "39", "-c:v", "libx264"], shorter)
    promised = probe(ffprobe, clip)
    shutil.copyfile(clip, tmp_path / "reference.mp4")
    found = quality.measure(
        quality.QualityPass(ffmpeg=ffmpeg, folder=tmp_path, threads=2, deadline_s=60),
        distorted=quality.Clip(name="shorter.mp4", probe=promised),
        reference=quality.Clip(name="reference.mp4", probe=promised),
        stop=lambda: False,
    )
    assert isinstance(found, Unavailable)
    assert "of 40 frames 39 of the output" in found.reason


def test_another_colour_range(ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path) -> None:
    full = tmp_path / "full.mp4"
    make(ffmpeg, ["-i", str(clip), "-vf", "scale=out_range=pc"], ["-color_range", "pc"], full)
    found = _compare(ffmpeg, ffprobe, tmp_path, full, clip)
    assert found == Unavailable(reason="the output's colour range is pc and the source's tv")


def test_an_ffmpeg_without_libvmaf(
    system_ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    found = _compare(system_ffmpeg, ffprobe, tmp_path, clip, clip)
    assert isinstance(found, Unavailable)
    assert found.reason.startswith("the quality pass failed: ")


def test_percentiles_interpolate() -> None:
    found = quality.summarise(np.arange(101, dtype=np.float64))
    assert (found.vmaf_p1, found.vmaf_p5, found.vmaf_min) == (1.0, 5.0, 0.0)
    assert found.vmaf_mean == 50.0
