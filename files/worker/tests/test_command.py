"""Argument lists, as tables and in both FFmpegs."""

import subprocess
from pathlib import Path

import pytest
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.scenario import EncodeSettings, RatePoint
from ffrtmp_worker.ffmpeg import command, probe


def _settings(encoder: str, rate: RatePoint, **more: object) -> EncodeSettings:
    preset = {"libsvtav1": "12"}.get(encoder, "ultrafast")
    return EncodeSettings(encoder=encoder, preset=preset, rate=rate, **more)  # type: ignore[arg-type]


CASES = [
    (
        _settings("libx264", RatePoint(bitrate_kbps=800)),
        "-c:v libx264 -preset ultrafast -b:v 800k -g 250 -pix_fmt yuv420p -threads 2",
    ),
    (
        _settings("libx264", RatePoint(crf=23), pixel_format="yuv420p10le", threads=1),
        "-c:v libx264 -preset ultrafast -crf 23 -g 250 -pix_fmt yuv420p10le -threads 1",
    ),
    (
        _settings("libx265", RatePoint(crf=24.5), threads=4, gop_frames=48),
        "-c:v libx265 -preset ultrafast -crf 24.5 -g 48 -pix_fmt yuv420p -threads 4 "
        "-x265-params pools=4:frame-threads=2",
    ),
    (
        _settings("libx265", RatePoint(bitrate_kbps=500), pixel_format="yuv420p10le"),
        "-c:v libx265 -preset ultrafast -b:v 500k -g 250 -pix_fmt yuv420p10le -threads 2 "
        "-x265-params pools=2:frame-threads=1",
    ),
    (
        _settings("libsvtav1", RatePoint(bitrate_kbps=500), threads=8),
        "-c:v libsvtav1 -preset 12 -b:v 500k -g 250 -pix_fmt yuv420p -threads 8 "
        "-svtav1-params lp=6",
    ),
    (
        _settings("libsvtav1", RatePoint(crf=35), pixel_format="yuv420p10le", threads=1),
        "-c:v libsvtav1 -preset 12 -crf 35 -g 250 -pix_fmt yuv420p10le -threads 1 "
        "-svtav1-params lp=1",
    ),
]


@pytest.mark.parametrize(("settings", "expected"), CASES)
def test_encoder_options(settings: EncodeSettings, expected: str) -> None:
    argv = command.encode(settings, Path("/bin/ffmpeg"), "source.mp4", "output.mp4")
    assert " ".join(argv).endswith(f"-fps_mode passthrough {expected} -f mp4 output.mp4")


def test_everything_around_the_encoder() -> None:
    argv = command.encode(CASES[0][0], Path("/bin/ffmpeg"), "source.mp4", "output.mp4")
    text = " ".join(argv)
    assert text.startswith(
        "/bin/ffmpeg -nostdin -hide_banner -y -progress pipe:1 -stats_period 0.5 -nostats "
        "-filter_threads 2 -xerror -protocol_whitelist file -format_whitelist mov,"
    )
    assert "-threads 2 -noautorotate -i source.mp4 -map 0:V:0 -an -sn -dn" in text


@pytest.mark.parametrize("settings", [case[0] for case in CASES])
def test_each_list_encodes_every_frame(
    settings: EncodeSettings, each_ffmpeg: Path, clip: Path, ffprobe: Path, tmp_path: Path
) -> None:
    output = tmp_path / command.OUTPUT_NAME
    argv = command.encode(settings, each_ffmpeg, str(clip), output.name)
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = probe.probe(ffprobe, output)
    assert found.codec == ENCODERS[settings.encoder].codec
    assert (found.frames, found.width, found.height) == (40, 320, 180)
    assert (found.pixel_format, found.frame_rate_text) == (settings.pixel_format, "25/1")
    assert found.duration_s == pytest.approx(1.6, abs=0.001)


def test_a_play_list_is_not_opened(ffmpeg: Path, clip: Path, tmp_path: Path) -> None:
    play_list = tmp_path / "source.mp4"
    play_list.write_text(f"ffconcat version 1.0\nfile '{clip}'\n", encoding="utf-8")
    argv = command.encode(CASES[0][0], ffmpeg, play_list.name, "output.mp4")
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode > 0
    assert "whitelist" in done.stderr.lower() or "Invalid data" in done.stderr
    assert not (tmp_path / "output.mp4").exists()
