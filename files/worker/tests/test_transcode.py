"""Tests of complete attempts with a real FFmpeg, and of the failure classes of failed attempts."""

import hashlib
import os
import shlex
import shutil
import signal
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import EncodeMeasurement, Measurement, QualityMeasurement
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_shared.verdict import VerdictState
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.probe import probe_video
from ffrtmp_worker.kinds.steps import timed_run
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools
from ffrtmp_worker.kinds.steps.timed_run import sum_measurements
from ffrtmp_worker.measure import output
from ffrtmp_worker.measure.cgroup import MemoryLimit
from ffrtmp_worker.measure.quality import Clip
from polling import wait_until

from .conftest import attempt, make, scenario, stages_of


def _fails(tried: Attempt) -> AttemptFailedError:
    with pytest.raises(AttemptFailedError) as caught:
        kinds.run_attempt(tried)
    return caught.value


@pytest.mark.parametrize(
    ("encoder", "preset"), [("libx264", "fast"), ("libx265", "ultrafast"), ("libsvtav1", "12")]
)
def test_a_measurement_is_complete(
    encoder: str, preset: str, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    reported: list[Progress] = []
    spec = scenario(clip, encoder=encoder, preset=preset, rate=RatePoint(bitrate_kbps=300))
    measured = kinds.run_attempt(attempt(spec, clip, tmp_path / "a", tools, reported=reported))
    assert measured.encode.frames == measured.output.frames == 40
    assert measured.output.codec == ENCODERS[encoder].codec
    assert measured.encode.fps == pytest.approx(40 / measured.encode.wall_s)
    assert measured.encode.speed == pytest.approx(1.6 / measured.encode.wall_s)
    assert measured.encode.max_rss_kib > 10_000
    assert isinstance(measured.encode.minor_faults, int)
    assert measured.encode.minor_faults > 1000
    assert isinstance(measured.encode.voluntary_switches, int)
    assert measured.encode.voluntary_switches > 0
    assert isinstance(measured.encode.first_frame_s, float)
    assert measured.output.video_bytes < measured.output.file_bytes
    assert isinstance(measured.quality, QualityMeasurement)
    assert measured.quality.vmaf_mean > 40
    assert 0 <= measured.environment.steal_ratio <= 1
    assert measured.provenance.source_sha256 == spec.source.sha256
    assert stages_of(reported) == ["fetch", "source_check", "encode", "output_check", "quality"]
    assert reported[-1].frames == 40
    encoding = [p for p in reported if p.stage == "encode" and p.frames]
    assert {(p.duplicated_frames, p.dropped_frames) for p in encoding} == {(0, 0)}
    assert all(p.fps > 0 and p.speed == pytest.approx(p.fps / 25) for p in encoding)
    assert {p.lag_s for p in reported} == {None}
    decoded = msgspec.json.decode(msgspec.json.encode(measured), type=Measurement)
    assert decoded == measured


@pytest.mark.slow
def test_two_passes_are_timed_together(clip: Path, tools: Tools, tmp_path: Path) -> None:
    spec = scenario(clip, rate=RatePoint(bitrate_kbps=300, passes=2))
    measured = kinds.run_attempt(attempt(spec, clip, tmp_path / "a", tools))
    assert measured.encode.frames == measured.output.frames == 40
    assert measured.encode.fps == pytest.approx(40 / measured.encode.wall_s)
    assert measured.encode.speed == pytest.approx(1.6 / measured.encode.wall_s)
    commands = [measured.provenance.argv, *measured.provenance.more_argv]
    assert [argv[argv.index("-pass") + 1] for argv in commands] == ["1", "2"]
    assert [argv[0] for argv in commands] == [str(tools.ffmpeg)] * 2


def test_passes_add_up(clip: Path, tools: Tools) -> None:
    source = Clip(name="clip", probe=probe_video(tools.ffprobe, clip))
    first = EncodeMeasurement(
        wall_s=2.0,
        user_s=3.0,
        system_s=0.5,
        max_rss_kib=900,
        frames=39,
        fps=19.5,
        speed=0.8,
        first_frame_s=0.25,
    )
    second = msgspec.structs.replace(
        first, wall_s=6.0, user_s=5.0, max_rss_kib=700, frames=40, first_frame_s=0.75
    )
    both = sum_measurements([first, second], source)
    assert both == EncodeMeasurement(
        wall_s=8.0,
        user_s=8.0,
        system_s=1.0,
        max_rss_kib=900,
        frames=40,
        fps=5.0,
        speed=0.2,
        first_frame_s=0.25,
    )
    assert sum_measurements([first], source) is first


def test_size_and_rate_of_the_output_are_checked(clip: Path, tools: Tools, tmp_path: Path) -> None:
    spec = scenario(clip, width=160, height=90, frame_rate="25/2")
    measured = kinds.run_attempt(attempt(spec, clip, tmp_path / "a", tools))
    found = measured.output
    assert (found.width, found.height, found.frame_rate, found.frames) == (160, 90, "25/2", 20)
    assert measured.quality == Unavailable(
        reason="the output has 25/2 frames a second and the source 25/1"
    )
    assert measured.verdict is not None
    assert measured.verdict.state is not VerdictState.INVALID


@pytest.mark.parametrize(
    "settings",
    [
        {"options": {"stats": "/etc/passwd"}},
        {"options": {"tune": "film -y"}},
        {"preset": "fast -y"},
        {"pixel_format": "yuv420p,movie=x"},
        {"rate": RatePoint(cq=20)},
        {"width": 160},
    ],
)
def test_unsupported_settings_fail_before_the_fetch(
    settings: dict[str, Any], clip: Path, tools: Tools, tmp_path: Path
) -> None:
    error = _fails(attempt(scenario(clip, **settings), clip, tmp_path / "a", tools))
    assert error.failure_class is FailureClass.INVALID_SETTINGS
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.slow
def test_the_recorded_command_reproduces_the_output(
    clip: Path, tools: Tools, tmp_path: Path
) -> None:
    first = kinds.run_attempt(attempt(scenario(clip), clip, tmp_path / "a", tools))
    assert "/" not in " ".join(first.provenance.argv[1:]).replace("pipe:1", "")
    by_hand = tmp_path / "b"
    by_hand.mkdir()
    shutil.copyfile(clip, by_hand / "source.mp4")
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", 'cd "$0" && exec "$@" >/dev/null 2>&1', str(by_hand), *first.provenance.argv],
        dict(os.environ),
    )
    assert os.waitpid(pid, 0)[1] == 0
    written = (by_hand / "output.mp4").read_bytes()
    assert hashlib.sha256(written).hexdigest() == first.output.sha256


def test_a_corrupt_header(clip: Path, tools: Tools, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 2000 + clip.read_bytes()[2000:8000])
    error = _fails(attempt(scenario(broken), broken, tmp_path / "a", tools))
    assert error.failure_class is FailureClass.SOURCE_UNREADABLE
    assert "source.mp4" in error.log_tail


def test_a_corrupt_picture(clip: Path, tools: Tools, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 50_000] = b"\xff" * 50_000
    broken.write_bytes(content)
    error = _fails(attempt(scenario(broken), broken, tmp_path / "a", tools))
    assert error.failure_class is FailureClass.SOURCE_UNREADABLE
    assert len(error.log_tail.splitlines()) > 1


def test_a_source_with_a_varying_frame_rate(
    ffmpeg: Path, clip: Path, tools: Tools, tmp_path: Path
) -> None:
    uneven = tmp_path / "uneven.mp4"
    drop_frames = ["-vf", "select='not(between(n,5,9))'", "-fps_mode", "vfr"]
    make(ffmpeg, ["-i", str(clip), *drop_frames], ["-c:v", "libx264"], uneven)
    error = _fails(attempt(scenario(uneven), uneven, tmp_path / "a", tools))
    assert error.failure_class is FailureClass.SOURCE_UNREADABLE
    assert "frame rate varies" in str(error)


def test_an_encoder_that_rejects_the_size(ffmpeg: Path, tools: Tools, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=8x8:rate=10:duration=1"]
    make(ffmpeg, picture, ["-c:v", "libx264", "-pix_fmt", "yuv420p"], tiny)
    spec = scenario(tiny, encoder="libx265", preset="ultrafast")
    error = _fails(attempt(spec, tiny, tmp_path / "a", tools))
    assert error.failure_class is FailureClass.ENCODE_FAILED
    assert "Image size is too small" in error.log_tail


def test_unsuitable_scenarios_and_nodes_fail_before_the_fetch(
    clip: Path, tools: Tools, tmp_path: Path
) -> None:
    bad_preset = attempt(scenario(clip, preset="warp"), clip, tmp_path / "a", tools)
    assert _fails(bad_preset).failure_class is FailureClass.INVALID_SETTINGS
    none_proved = replace(tools, encoders=frozenset())
    missing = attempt(scenario(clip), clip, tmp_path / "a", none_proved)
    assert _fails(missing).failure_class is FailureClass.ENCODER_UNAVAILABLE
    unknown = msgspec.structs.replace(scenario(clip), kind="teleport")
    strange = attempt(unknown, clip, tmp_path / "a", tools)
    assert _fails(strange).failure_class is FailureClass.INVALID_SETTINGS
    full = attempt(scenario(clip), clip, tmp_path / "a", replace(tools, min_free_bytes=1 << 60))
    assert _fails(full).failure_class is FailureClass.NODE
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.slow
def test_the_warm_up_is_not_measured(clip: Path, tools: Tools, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    spec = msgspec.structs.replace(scenario(clip, preset="veryslow"), warm_up_s=0.2)
    started = time.monotonic()
    measured = kinds.run_attempt(attempt(spec, clip, folder, tools))
    took_s = time.monotonic() - started
    assert measured.encode.frames == measured.output.frames == 40
    warmed_up = (folder / "warm-up.log").read_text().splitlines()
    assert warmed_up[0] == shlex.join(measured.provenance.argv)
    # FFmpeg was killed, and did not encode the frames that the encoder had already received.
    assert not any("muxing overhead" in line for line in warmed_up)
    assert "muxing overhead" in (folder / "ffmpeg.log").read_text()
    assert took_s > measured.encode.wall_s + 0.2


@pytest.mark.slow
def test_a_stop_ends_the_warm_up(long_clip: Path, tools: Tools, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(scenario(long_clip, preset="slow"), warm_up_s=60.0)
    log = tmp_path / "a" / "warm-up.log"
    started = time.monotonic()
    stopped = attempt(
        spec,
        long_clip,
        tmp_path / "a",
        tools,
        stop_reason=lambda: "the job was canceled" if log.exists() else "",
    )
    assert _fails(stopped).failure_class is FailureClass.STOPPED
    assert time.monotonic() - started < 30
    assert _encoders_in(tmp_path / "a") == []


def test_an_encode_slower_than_allowed(clip: Path, tools: Tools, tmp_path: Path) -> None:
    hasty = msgspec.structs.replace(scenario(clip, preset="veryslow"), slowest_speed=1000.0)
    error = _fails(attempt(hasty, clip, tmp_path / "a", tools))
    assert error.failure_class is FailureClass.DEADLINE_EXCEEDED


@pytest.mark.slow
def test_a_stop_reaches_ffmpeg_within_seconds(
    long_clip: Path, tools: Tools, tmp_path: Path
) -> None:
    stop_at = time.monotonic() + 1.5
    tried = attempt(
        scenario(long_clip, preset="slow"),
        long_clip,
        tmp_path / "a",
        tools,
        stop_reason=lambda: "the job was canceled" if time.monotonic() > stop_at else "",
    )
    error = _fails(tried)
    assert (error.failure_class, str(error)) == (FailureClass.STOPPED, "the job was canceled")
    assert time.monotonic() - stop_at < 5
    assert _encoders_in(tmp_path / "a") == []


@pytest.mark.slow
def test_an_ffmpeg_killed_by_another_process(long_clip: Path, tools: Tools, tmp_path: Path) -> None:

    def kill() -> None:
        found = wait_until(lambda: _encoders_in(tmp_path / "a"), "FFmpeg runs")
        os.kill(found[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    error = _fails(attempt(scenario(long_clip, preset="slow"), long_clip, tmp_path / "a", tools))
    killer.join()
    assert error.failure_class is FailureClass.KILLED


@pytest.mark.slow
def test_an_ffmpeg_killed_at_the_slots_memory_limit(
    long_clip: Path, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    membership, tree = tmp_path / "membership", tmp_path / "slot"
    membership.write_text("0::/slot\n")
    tree.mkdir()
    (tree / "memory.max").write_text("104857600\n")
    (tree / "memory.events").write_text("oom 0\noom_kill 0\n")
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    monkeypatch.setattr(timed_run, "MemoryLimit", lambda: MemoryLimit(membership, tmp_path))

    def kill() -> None:
        found = wait_until(lambda: _encoders_in(tmp_path / "a"), "FFmpeg runs")
        (tree / "memory.events").write_text("oom 1\noom_kill 1\n")
        os.kill(found[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    error = _fails(attempt(scenario(long_clip, preset="slow"), long_clip, tmp_path / "a", tools))
    killer.join()
    assert error.failure_class is FailureClass.OUT_OF_MEMORY
    assert not error.failure_class.is_retryable
    assert "limit of 104857600 bytes" in str(error)


@pytest.mark.parametrize(
    ("frames", "rate", "wanted", "right"),
    # FFmpeg rounds halves up; the time stamps of a container may remove or add the last frame.
    [
        (101, 60, "30", {51, 50}),
        (97, 50, "25", {49, 48}),
        (13, 12, "30", {33, 32}),
        (100, 50, "25", {50, 51, 49}),
    ],
)
def test_the_number_of_frames_at_another_rate_is_that_of_ffmpeg(  # noqa: PLR0917
    frames: int, rate: int, wanted: str, right: set[int], clip: Path, tools: Tools
) -> None:
    source = msgspec.structs.replace(
        probe_video(tools.ffprobe, clip), frames=frames, frame_rate=Fraction(rate)
    )
    settings = scenario(clip, frame_rate=wanted).encode
    accepted = set()
    for count in range(200):
        made = msgspec.structs.replace(
            source,
            frames=count,
            frame_rate=Fraction(wanted),
            duration_s=count / float(Fraction(wanted)),
        )
        if not output.mismatches(settings, source, made):
            accepted.add(count)
    assert accepted == right


def test_mismatches_of_the_output_are_listed(clip: Path, tools: Tools) -> None:
    found = probe_video(tools.ffprobe, clip)
    wanted = scenario(clip, encoder="libx265", preset="fast", pixel_format="yuv420p10le").encode
    shorter = msgspec.structs.replace(found, frames=39, width=640, duration_s=2.0)
    wrong = output.mismatches(wanted, found, shorter)
    assert wrong == [
        "codec is h264, not hevc",
        "width is 640, not 320",
        "pixel format is yuv420p, not yuv420p10le",
        "number of frames is 39, not 40",
        "duration is 2.000 s, not 1.600 s",
    ]
    assert output.mismatches(scenario(clip).encode, found, found) == []


def _encoders_in(folder: Path) -> list[int]:
    """Return the FFmpeg processes that encode and whose working directory is `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                is_here = (entry / "cwd").readlink() == folder
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if is_here and b"-preset" in argv:
                found.append(int(entry.name))
    return found
