"""Tests of VMAF with a real libvmaf, and of the cases in which quality must be unavailable."""

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.unavailable import Cause, Unavailable
from ffrtmp_worker.ffmpeg.probe import probe_video
from ffrtmp_worker.measure import quality
from ffrtmp_worker.measure.frame_scores import METRICS
from ffrtmp_worker.measure.quality_graph import comparison_of
from ffrtmp_worker.measure.quality_statistics import summarize_scores

from .conftest import make


@pytest.fixture(scope="module")
def worse(ffmpeg: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a strongly compressed copy of the clip."""
    return _made(ffmpeg, clip, tmp_path_factory, [], crf="36")


@pytest.fixture(scope="module")
def shifted(ffmpeg: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the clip that begins one frame later and has the same number of frames."""
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
    settings = quality.QualityPass(ffmpeg=tools_ffmpeg, folder=folder, threads=2, deadline_s=60)
    return quality.measure_quality(
        settings,
        distorted=quality.Clip(name="a.mp4", probe=probe_video(ffprobe, distorted)),
        reference=quality.Clip(name="b.mp4", probe=probe_video(ffprobe, reference)),
        stop=lambda: False,
    )


def _compare_as(
    ffmpeg: Path, ffprobe: Path, folder: Path, distorted: Path, reference: Path
) -> QualityMeasurement | Unavailable:
    """Compare files that are in the folder already, so that their names keep the suffixes."""
    settings = quality.QualityPass(ffmpeg=ffmpeg, folder=folder, threads=2, deadline_s=60)
    return quality.measure_quality(
        settings,
        distorted=quality.Clip(name=distorted.name, probe=probe_video(ffprobe, distorted)),
        reference=quality.Clip(name=reference.name, probe=probe_video(ffprobe, reference)),
        stop=lambda: False,
    )


def test_a_clip_against_itself(ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path) -> None:
    found = _compare(ffmpeg, ffprobe, tmp_path, clip, clip)
    assert isinstance(found, QualityMeasurement)
    assert found.vmaf_mean > 95
    assert (found.pairs, found.vmaf_model) == (40, "vmaf_v0.6.1")


@pytest.mark.slow
def test_pooling_agrees_with_libvmaf_and_order_matters(
    ffmpeg: Path, ffprobe: Path, clip: Path, worse: Path, tmp_path: Path
) -> None:
    right = _compare(ffmpeg, ffprobe, tmp_path, worse, clip)
    pooled = _pooled(ffmpeg, tmp_path / "a.mp4", tmp_path / "b.mp4")
    wrong = _compare(ffmpeg, ffprobe, tmp_path, clip, worse)
    assert isinstance(right, QualityMeasurement)
    assert isinstance(wrong, QualityMeasurement)
    assert right.vmaf_mean == pytest.approx(pooled["mean"], abs=1e-4)
    assert right.vmaf_harmonic_mean == pytest.approx(pooled["harmonic_mean"], abs=1e-4)
    assert right.vmaf_min == pytest.approx(pooled["min"], abs=1e-4)
    assert right.vmaf_min <= right.vmaf_p1 <= right.vmaf_p5 <= right.vmaf_mean < 90
    assert abs(right.vmaf_mean - wrong.vmaf_mean) > 1


def test_a_shift_by_one_frame_is_found(
    ffmpeg: Path, ffprobe: Path, clip: Path, shifted: Path, tmp_path: Path
) -> None:
    found = _compare(ffmpeg, ffprobe, tmp_path, shifted, clip)
    assert isinstance(found, Unavailable)
    assert "when shifted by 1" in found.reason
    assert found.cause is Cause.PAIRING


def test_another_number_of_frames(ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path) -> None:
    shorter = tmp_path / "shorter.mp4"
    make(ffmpeg, ["-i", str(clip)], ["-frames:v", "39", "-c:v", "libx264"], shorter)
    found = _compare(ffmpeg, ffprobe, tmp_path, shorter, clip)
    assert found == Unavailable(
        reason="the output has 39 frames and the source 40", cause=Cause.PAIRING
    )


def test_frames_that_are_lost_in_decoding(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    """Check that the decoded frames are counted, and not those in the container's header."""
    shorter = tmp_path / "shorter.mp4"
    make(ffmpeg, ["-i", str(clip)], ["-frames:v", "39", "-c:v", "libx264"], shorter)
    announced = probe_video(ffprobe, clip)
    shutil.copyfile(clip, tmp_path / "reference.mp4")
    found = quality.measure_quality(
        quality.QualityPass(ffmpeg=ffmpeg, folder=tmp_path, threads=2, deadline_s=60),
        distorted=quality.Clip(name="shorter.mp4", probe=announced),
        reference=quality.Clip(name="reference.mp4", probe=announced),
        stop=lambda: False,
    )
    assert isinstance(found, Unavailable)
    assert "of 40 frames 39 of the output" in found.reason
    assert found.cause is Cause.PAIRING


def test_another_color_range(ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path) -> None:
    full = tmp_path / "full.mp4"
    make(ffmpeg, ["-i", str(clip), "-vf", "scale=out_range=pc"], ["-color_range", "pc"], full)
    found = _compare(ffmpeg, ffprobe, tmp_path, full, clip)
    assert found == Unavailable(reason="the output's colour range is pc and the source's tv")


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_not_compared_with_anything(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path, transfer: str
) -> None:
    hdr = tmp_path / "hdr.mp4"
    tags = f"setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"
    make(ffmpeg, ["-i", str(clip)], ["-c:v", "libx264", "-vf", tags], hdr)
    # The clip does not have a transfer tag, so the tags of the two files do not contradict.
    for distorted, reference, whose in ((hdr, clip, "output"), (clip, hdr, "source")):
        found = _compare(ffmpeg, ffprobe, tmp_path, distorted, reference)
        assert found == Unavailable(
            reason=f"the {whose} is HDR ({transfer}), for which there is no model"
        )


def test_an_ffmpeg_without_libvmaf(
    system_ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    found = _compare(system_ffmpeg, ffprobe, tmp_path, clip, clip)
    assert isinstance(found, Unavailable)
    assert found.reason.startswith("the quality pass failed: ")


def test_a_disk_that_becomes_full_makes_the_quality_unavailable(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "reference.gray").symlink_to("/dev/full")
    found = _compare(ffmpeg, ffprobe, tmp_path, clip, clip)
    assert isinstance(found, Unavailable)
    assert found.reason.startswith("the quality pass failed: ")
    assert "No space left on device" in found.reason
    assert not list(tmp_path.glob("*.gray")), "the thumbnails do not stay on the full disk"


def test_a_log_that_cannot_be_written_makes_the_quality_unavailable(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "quality.log").symlink_to("/dev/full")
    found = _compare(ffmpeg, ffprobe, tmp_path, clip, clip)
    assert found == Unavailable(reason="the quality pass failed: No space left on device")


def test_thumbnails_that_do_not_fit_on_the_disk_are_not_written(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    shutil.copyfile(clip, tmp_path / "clip.mp4")
    probe = msgspec.structs.replace(probe_video(ffprobe, clip), frames=10**12)
    endless = quality.Clip(name="clip.mp4", probe=probe)
    settings = quality.QualityPass(ffmpeg=ffmpeg, folder=tmp_path, threads=2, deadline_s=60)
    found = quality.measure_quality(
        settings, distorted=endless, reference=endless, stop=lambda: False
    )
    assert isinstance(found, Unavailable)
    assert "needs 4608000000000000 bytes" in found.reason
    assert "worker_data_dir" in found.reason
    assert {file.name for file in tmp_path.iterdir()} == {"clip.mp4"}


def _summary(ffmpeg: Path, distorted: Path, reference: Path, name: str) -> str:
    """Return the summary that FFmpeg's own filter `name` prints, without the code under test."""
    graph = f"[0:V]settb=1/25,setpts=N[d];[1:V]settb=1/25,setpts=N[r];[d][r]{name}"
    inputs = ["-i", str(distorted), "-i", str(reference)]
    command = [str(ffmpeg), "-nostdin", *inputs, "-filter_complex", graph, "-f", "null", "-"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stderr


def test_ssim_and_xpsnr_equal_those_of_ffmpegs_filters(
    ffmpeg: Path, ffprobe: Path, clip: Path, worse: Path, tmp_path: Path
) -> None:
    found = _compare(ffmpeg, ffprobe, tmp_path, worse, clip)
    assert isinstance(found, QualityMeasurement)
    ssim = re.search(r"SSIM .* All:(\S+)", _summary(ffmpeg, worse, clip, "ssim"))
    summary = _summary(ffmpeg, worse, clip, "xpsnr")
    xpsnr = re.search(r"XPSNR +y: (\S+) +u: (\S+) +v: (\S+)", summary)
    assert ssim is not None
    assert xpsnr is not None
    assert found.ssim_ffmpeg_mean == pytest.approx(float(ssim[1]), abs=1e-5)
    assert found.ssim_ffmpeg_mean != found.ssim_libvmaf_mean
    planes = (found.xpsnr_y_db, found.xpsnr_cb_db, found.xpsnr_cr_db)
    assert planes == pytest.approx([float(plane) for plane in xpsnr.groups()], abs=1e-3)
    assert found.alignment_offset == 0


def test_equal_pictures_have_no_xpsnr(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    found = _compare(ffmpeg, ffprobe, tmp_path, clip, clip)
    assert isinstance(found, QualityMeasurement)
    assert found.xpsnr_y_db == Unavailable(reason="the planes are equal, so that XPSNR is infinite")


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_a_shift_is_found_in_the_shortest_clips(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path, frames: int
) -> None:
    lossless = ["-c:v", "libx264", "-qp", "0"]
    for name, first in (("reference", 0), ("later", 1)):
        cut = f"trim=start_frame={10 + first}:end_frame={10 + first + frames},setpts=PTS-STARTPTS"
        make(ffmpeg, ["-i", str(clip)], ["-vf", cut, *lossless], tmp_path / f"{name}.mp4")
    found = _compare(ffmpeg, ffprobe, tmp_path, tmp_path / "later.mp4", tmp_path / "reference.mp4")
    assert isinstance(found, Unavailable)
    assert "when shifted by 1" in found.reason
    assert found.cause is Cause.PAIRING


_CONSTANT = (1.0, 30.0, 40.0, 41.0, 0.9)


def test_percentiles_interpolate() -> None:
    values = (np.arange(101, dtype=np.float64), *(np.full(101, v) for v in _CONSTANT))
    found = summarize_scores(dict(zip(METRICS, values, strict=True)), "model")
    assert (found.vmaf_p1, found.vmaf_p5, found.vmaf_p10, found.vmaf_min) == (1.0, 5.0, 10.0, 0.0)
    assert (found.vmaf_mean, found.vmaf_model) == (50.0, "model")
    assert found.vmaf_std == pytest.approx(29.155, abs=0.001)
    assert (found.psnr_y_mean_db, found.psnr_cb_mean_db, found.psnr_cr_mean_db) == (30, 40, 41)
    assert (found.vmaf_neg_mean, found.ssim_libvmaf_mean) == (1.0, pytest.approx(0.9))


def _pooled(
    ffmpeg: Path, distorted: Path, reference: Path, before: str = "null"
) -> dict[str, float]:
    """Return libvmaf's pooled scores of VMAF, without the code under test.

    Frames are paired by their number.
    """
    log = distorted.with_suffix(".by-hand.json")
    number = "settb=1/25,setpts=N"
    graph = (
        f"[0:V]{number},{before}[d];[1:V]{number}[r];"
        f"[d][r]libvmaf=model=version=vmaf_v0.6.1:log_fmt=json:log_path={log}"
    )
    inputs = ["-i", str(distorted), "-i", str(reference)]
    command = [str(ffmpeg), "-v", "error", "-nostdin", *inputs, "-filter_complex", graph]
    subprocess.run([*command, "-f", "null", "-"], check=True)
    pooled: dict[str, float] = msgspec.json.decode(log.read_bytes())["pooled_metrics"]["vmaf"]
    return pooled


def _vmaf_mean(ffmpeg: Path, distorted: Path, reference: Path, before: str = "null") -> float:
    return _pooled(ffmpeg, distorted, reference, before)["mean"]


def test_values_equal_those_of_libvmaf(
    ffmpeg: Path, ffprobe: Path, clip: Path, worse: Path, tmp_path: Path
) -> None:
    found = _compare(ffmpeg, ffprobe, tmp_path, worse, clip)
    assert isinstance(found, QualityMeasurement)
    assert found.vmaf_mean == pytest.approx(_vmaf_mean(ffmpeg, worse, clip), abs=0.01)
    assert isinstance(found.vmaf_neg_mean, float)
    assert 0 < found.vmaf_neg_mean < found.vmaf_mean
    assert isinstance(found.psnr_y_mean_db, float)
    assert 20 < found.psnr_y_mean_db < 50
    assert isinstance(found.ssim_libvmaf_mean, float)
    assert 0.5 < found.ssim_libvmaf_mean < 1


@pytest.mark.slow
def test_rounded_timestamps_of_matroska_pair_the_right_frames(
    ffmpeg: Path, ffprobe: Path, clip: Path, worse: Path, tmp_path: Path
) -> None:
    # At 59.94 frames per second, timestamps in whole milliseconds are not exact.
    rate = ["-r", "60000/1001"]
    clips = {}
    for name, source in (("reference", clip), ("distorted", worse)):
        for suffix in ("mp4", "mkv"):
            clips[name, suffix] = tmp_path / f"{name}.{suffix}"
            before = [*rate, "-i", str(source)]
            make(
                ffmpeg,
                before,
                [*rate, "-c:v", "ffv1", "-level", "3"]
                if suffix == "mkv"
                else [*rate, "-c:v", "libx264", "-qp", "0"],
                clips[name, suffix],
            )
    expected = _vmaf_mean(ffmpeg, clips["distorted", "mp4"], clips["reference", "mp4"])
    for distorted_suffix, reference_suffix in (("mp4", "mkv"), ("mkv", "mp4"), ("mkv", "mkv")):
        found = _compare_as(
            ffmpeg,
            ffprobe,
            tmp_path,
            clips["distorted", distorted_suffix],
            clips["reference", reference_suffix],
        )
        assert isinstance(found, QualityMeasurement)
        assert found.vmaf_mean == pytest.approx(expected, abs=0.01)


def test_59_94_against_60_frames_a_second_is_not_compared(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    for name, rate in (("a", "60000/1001"), ("b", "60")):
        make(
            ffmpeg,
            ["-r", rate, "-i", str(clip)],
            ["-r", rate, "-c:v", "libx264"],
            tmp_path / f"{name}-rate.mp4",
        )
    found = _compare(ffmpeg, ffprobe, tmp_path, tmp_path / "a-rate.mp4", tmp_path / "b-rate.mp4")
    assert found == Unavailable(
        reason="the output has 60000/1001 frames a second and the source 60/1"
    )


def test_a_smaller_output_is_scaled_to_the_size_of_the_source(
    ffmpeg: Path, ffprobe: Path, clip: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.mp4"
    make(ffmpeg, ["-i", str(clip)], ["-vf", "scale=160:90", "-c:v", "libx264", "-crf", "18"], small)
    found = _compare(ffmpeg, ffprobe, tmp_path, small, clip)
    assert isinstance(found, QualityMeasurement)
    scaled = "scale=320:180:flags=bicubic"
    assert found.vmaf_mean == pytest.approx(_vmaf_mean(ffmpeg, small, clip, scaled), abs=0.01)
    assert found.vmaf_mean < 90


@pytest.mark.slow
def test_2160_lines_use_the_4k_model(ffmpeg: Path, ffprobe: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=3840x2160:rate=25:duration=0.12"]
    make(ffmpeg, picture, ["-c:v", "libx264", "-preset", "ultrafast"], large)
    found = _compare(ffmpeg, ffprobe, tmp_path, large, large)
    assert isinstance(found, QualityMeasurement)
    assert found.vmaf_model == "vmaf_4k_v0.6.1"


def test_pictures_that_stand_still_reveal_no_shift() -> None:
    still = np.full((40, 64 * 36), 90, dtype=np.uint8)
    places = np.arange(40)
    assert quality.shift_problem(still, still, places) == ""
    nearly = still.copy()
    nearly[20] += 1
    assert quality.shift_problem(nearly, still, places) == ""
    moving = (np.arange(40)[:, None] * np.ones(64 * 36)).astype(np.uint8)
    assert quality.shift_problem(moving, moving, places) == ""
    problem = quality.shift_problem(moving[1:], moving[:-1], places[:-1])
    assert problem == "the output's frames match the source's better when shifted by 1"


@pytest.mark.parametrize(
    ("pixel_format", "size", "compared", "model"),
    [
        ("yuv420p", (3840, 1600), "yuv420p", "vmaf_4k_v0.6.1"),
        ("yuv420p", (2560, 1440), "yuv420p", "vmaf_v0.6.1"),
        *((f"yuv420p{bits}le", (320, 180), "yuv420p10le", "vmaf_v0.6.1") for bits in (9, 12, 14)),
        ("gray16be", (320, 180), "yuv420p10le", "vmaf_v0.6.1"),
        ("rgb48le", (320, 180), "yuv420p10le", "vmaf_v0.6.1"),
        ("p010le", (320, 180), "yuv420p10le", "vmaf_v0.6.1"),
        ("rgb565le", (320, 180), "yuv420p", "vmaf_v0.6.1"),
    ],
)
def test_size_and_depth_decide_about_model_and_format(  # noqa: PLR0917
    pixel_format: str,
    size: tuple[int, int],
    compared: str,
    model: str,
    clip: Path,
    ffprobe: Path,
) -> None:
    output = probe_video(ffprobe, clip)
    source = msgspec.structs.replace(
        output, pixel_format=pixel_format, width=size[0], height=size[1]
    )
    how = comparison_of(output, source)
    assert (how.pixel_format, how.model) == (compared, model)


@pytest.mark.parametrize("pixel_format", ["gbrp", "bgr0", "argb", "rgba", "gray", "ya8", "pal8"])
def test_a_range_that_is_converted_is_no_difference(
    pixel_format: str, clip: Path, ffprobe: Path
) -> None:
    output = probe_video(ffprobe, clip)
    full = msgspec.structs.replace(output.colour, range="pc", matrix="gbr")
    source = msgspec.structs.replace(output, colour=full)
    assert "range" in quality.colour_problem(output.colour, quality.source_colour(source))
    source = msgspec.structs.replace(source, pixel_format=pixel_format)
    assert quality.colour_problem(output.colour, quality.source_colour(source)) == ""


def test_film_grain_of_the_decoder_is_not_rated(
    ffmpeg: Path, clip: Path, ffprobe: Path, tmp_path: Path
) -> None:
    coding = ["-c:v", "libsvtav1", "-preset", "12", "-crf", "40"]
    grain = ["-svtav1-params", "film-grain=20"]
    before = ["-i", str(clip), "-vf", "noise=alls=30:allf=t:all_seed=1", "-frames:v", "12"]
    make(ffmpeg, before, [*coding, *grain, "-pix_fmt", "yuv420p"], tmp_path / "o.mp4")
    make(ffmpeg, before, ["-c:v", "libx264", "-crf", "10"], tmp_path / "s.mp4")
    measured = _compare(ffmpeg, ffprobe, tmp_path, tmp_path / "o.mp4", tmp_path / "s.mp4")
    assert isinstance(measured, Unavailable)
    assert "film grain" in measured.reason
