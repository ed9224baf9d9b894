"""Tests of argument lists, which are compared with expected ones and run with both FFmpegs."""

import subprocess
from pathlib import Path

import pytest
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import EncodeSettings
from ffrtmp_worker.ffmpeg import command, encoder_options, probe


def _settings(encoder: str, rate: RatePoint, **more: object) -> EncodeSettings:
    preset = {
        "libx264": "ultrafast",
        "libx265": "ultrafast",
        "libsvtav1": "12",
        "libaom-av1": "8",
        "librav1e": "10",
        "libvpx-vp9": "good-5",
    }.get(encoder, ENCODERS[encoder].default_preset)
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
    (
        _settings("libsvtav1", RatePoint(crf=35, max_kbps=400), options={"film-grain": "8"}),
        "-c:v libsvtav1 -preset 12 -crf 35 -maxrate 400k -bufsize 400k -g 250 -pix_fmt yuv420p "
        "-threads 2 -svtav1-params lp=2:film-grain=8",
    ),
    (
        _settings("libx264", RatePoint(crf=23, max_kbps=400, buffer_kbit=800)),
        "-c:v libx264 -preset ultrafast -crf 23 -maxrate 400k -bufsize 800k -g 250 "
        "-pix_fmt yuv420p -threads 2",
    ),
    (
        _settings("libvpx-vp9", RatePoint(crf=35), options={"row-mt": "1"}),
        "-c:v libvpx-vp9 -deadline good -cpu-used 5 -crf 35 -b:v 0 -g 250 -pix_fmt yuv420p "
        "-threads 2 -row-mt:v 1",
    ),
    (
        _settings("libvpx-vp9", RatePoint(crf=35, max_kbps=400), pixel_format="yuv420p10le"),
        "-c:v libvpx-vp9 -deadline good -cpu-used 5 -crf 35 -maxrate 400k -bufsize 400k "
        "-b:v 400k -g 250 -pix_fmt yuv420p10le -threads 2",
    ),
    (
        _settings("libaom-av1", RatePoint(crf=35)),
        "-c:v libaom-av1 -cpu-used 8 -crf 35 -b:v 0 -g 250 -pix_fmt yuv420p -threads 2",
    ),
    (
        _settings("libaom-av1", RatePoint(bitrate_kbps=300), threads=1),
        "-c:v libaom-av1 -cpu-used 8 -b:v 300k -g 250 -pix_fmt yuv420p -threads 1",
    ),
]
RAV1E = (
    _settings("librav1e", RatePoint(cq=100)),
    "-c:v librav1e -speed 10 -qp 100 -g 250 -pix_fmt yuv420p -threads 2",
)


HARDWARE = [
    (
        _settings("h264_nvenc", RatePoint(cq=30, max_kbps=900), options={"bf": "2", "tune": "hq"}),
        "",
        "-c:v h264_nvenc -preset p4 -rc vbr -cq 30 -b:v 0 -maxrate 900k -bufsize 900k "
        "-g 250 -pix_fmt yuv420p -threads 2 -bf:v 2 -tune:v hq",
    ),
    (
        _settings("hevc_nvenc", RatePoint(bitrate_kbps=800), pixel_format="yuv420p10le"),
        "",
        "-c:v hevc_nvenc -preset p4 -rc vbr -b:v 800k -g 250 -pix_fmt p010le -threads 2",
    ),
    (
        _settings("h264_qsv", RatePoint(cq=25)),
        "-init_hw_device qsv=gpu -filter_hw_device gpu",
        "-vf format=nv12,hwupload=extra_hw_frames=64 "
        "-c:v h264_qsv -preset medium -global_quality 25 -g 250 -threads 2",
    ),
    (
        _settings("hevc_vaapi", RatePoint(cq=25), pixel_format="yuv420p10le", width=64, height=36),
        "-init_hw_device vaapi=gpu -filter_hw_device gpu",
        "-vf scale=64:36:flags=bicubic,format=p010le,hwupload=extra_hw_frames=64 "
        "-c:v hevc_vaapi -rc_mode CQP -qp 25 -g 250 -threads 2",
    ),
    (
        _settings("av1_vaapi", RatePoint(cq=120)),
        "-init_hw_device vaapi=gpu -filter_hw_device gpu",
        "-vf format=nv12,hwupload=extra_hw_frames=64 "
        "-c:v av1_vaapi -rc_mode CQP -global_quality 120 -g 250 -threads 2",
    ),
    (
        _settings("h264_vaapi", RatePoint(bitrate_kbps=800, max_kbps=900, buffer_kbit=1800)),
        "-init_hw_device vaapi=gpu -filter_hw_device gpu",
        "-vf format=nv12,hwupload=extra_hw_frames=64 -c:v h264_vaapi -rc_mode VBR -b:v 800k "
        "-maxrate 900k -bufsize 1800k -g 250 -threads 2",
    ),
]

TWO_PASSES = [
    _settings(name, RatePoint(bitrate_kbps=200, passes=2))
    for name in ("libx264", "libx265", "libaom-av1", "libvpx-vp9")
]

_HEAD = "/bin/ffmpeg -nostdin -hide_banner -y -progress pipe:1 -stats_period 0.5 -nostats"
_IN = (
    "-filter_threads 2 -xerror -protocol_whitelist file -format_whitelist "
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,ivf,yuv4mpegpipe,mxf "
    "-threads 2 -noautorotate -i source.mp4"
)
_ONLY_VIDEO = "-an -sn -dn -map_metadata -1 -map_chapters -1 -fps_mode passthrough"


@pytest.mark.parametrize(("settings", "device", "expected"), HARDWARE)
def test_a_gpu_gets_its_device_and_its_upload(
    settings: EncodeSettings, device: str, expected: str
) -> None:
    assert settings.problems() == []
    argv = command.encode(settings, Path("/bin/ffmpeg"), "source.mp4", "output.mp4")
    device = f" {device}" if device else ""
    assert " ".join(argv) == (
        f"{_HEAD}{device} {_IN} -map 0:V:0 {_ONLY_VIDEO} {expected} -f mp4 output.mp4"
    )


def test_two_passes_differ_in_what_they_write() -> None:
    both = [
        " ".join(argv)
        for argv in command.encode_passes(TWO_PASSES[3], Path("/bin/ffmpeg"), "source.mp4", "o.mp4")
    ]
    options = (
        "-c:v libvpx-vp9 -deadline good -cpu-used 5 -b:v 200k -g 250 -pix_fmt yuv420p -threads 2"
    )
    prefix = f"{_HEAD} {_IN} -map 0:V:0 {_ONLY_VIDEO} {options}"
    assert both == [
        f"{prefix} -pass 1 -passlogfile statistics -f null -",
        f"{prefix} -pass 2 -passlogfile statistics -f mp4 o.mp4",
    ]
    x265 = command.encode_passes(TWO_PASSES[1], Path("/bin/ffmpeg"), "source.mp4", "o.mp4")
    parameters = [argv[argv.index("-x265-params") + 1] for argv in x265]
    assert parameters == [
        f"pools=2:frame-threads=1:pass={number}:stats=statistics" for number in (1, 2)
    ]
    single = command.encode_passes(CASES[0][0], Path("/bin/ffmpeg"), "source.mp4", "o.mp4")
    assert single == [command.encode(CASES[0][0], Path("/bin/ffmpeg"), "source.mp4", "o.mp4")]


def test_a_ladder_decodes_once() -> None:
    rungs = [
        _settings("libx264", RatePoint(bitrate_kbps=300)),
        _settings("libx264", RatePoint(crf=30), width=160, height=90, frame_rate="12"),
    ]
    argv = command.ladder(rungs, Path("/bin/ffmpeg"), "source.mp4", ["a.mp4", "b.mp4"])
    encoder = "-c:v libx264 -preset ultrafast"
    rest = "-g 250 -pix_fmt yuv420p -threads 2 -f mp4"
    assert " ".join(argv) == (
        f"{_HEAD} {_IN} -filter_complex_threads 2 -filter_complex "
        "[0:V:0]split=2[s0][s1];[s0]null[v0];[s1]fps=12,scale=160:90:flags=bicubic[v1] "
        f"-map [v0] {_ONLY_VIDEO} {encoder} -b:v 300k {rest} a.mp4 "
        f"-map [v1] {_ONLY_VIDEO} {encoder} -crf 30 {rest} b.mp4"
    )
    with pytest.raises(ValueError, match="2 renditions, but 1 outputs"):
        command.ladder(rungs, Path("/bin/ffmpeg"), "source.mp4", ["a.mp4"])


@pytest.mark.slow
def test_all_renditions_of_a_ladder_are_written(
    each_ffmpeg: Path, clip: Path, ffprobe: Path, tmp_path: Path
) -> None:
    rungs = [
        _settings("libx264", RatePoint(bitrate_kbps=300)),
        _settings("libx264", RatePoint(crf=30), width=160, height=90),
        _settings("libx264", RatePoint(crf=30), width=80, height=46, frame_rate="25/2"),
    ]
    names = ["a.mp4", "b.mp4", "c.mp4"]
    _run(command.ladder(rungs, each_ffmpeg, str(clip), names), tmp_path)
    found = [probe.probe_video(ffprobe, tmp_path / name) for name in names]
    assert [(video.width, video.height, video.frames) for video in found] == [
        (320, 180, 40),
        (160, 90, 40),
        (80, 46, 20),
    ]


def test_decoding_counts_every_frame(each_ffmpeg: Path, clip: Path, tmp_path: Path) -> None:
    argv = command.decode_timed(2, each_ffmpeg, str(clip))
    assert "frame=40" in _run(argv, tmp_path).stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("settings", TWO_PASSES, ids=lambda settings: settings.encoder)
def test_a_second_pass_reads_the_statistics_of_the_first(
    settings: EncodeSettings, each_ffmpeg: Path, clip: Path, ffprobe: Path, tmp_path: Path
) -> None:
    first, second = command.encode_passes(settings, each_ffmpeg, str(clip), command.OUTPUT_NAME)
    _run(first, tmp_path)
    statistics = list(tmp_path.glob("statistics*"))
    assert statistics
    assert all(file.stat().st_size for file in statistics)
    _run(second, tmp_path)
    found = probe.probe_video(ffprobe, tmp_path / command.OUTPUT_NAME)
    assert (found.codec, found.frames) == (ENCODERS[settings.encoder].codec, 40)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1"])
def test_a_cap_holds_a_constant_quality_down(
    encoder: str, each_ffmpeg: Path, clip: Path, ffprobe: Path, tmp_path: Path
) -> None:
    sizes = []
    for rate in (RatePoint(crf=20), RatePoint(crf=20, max_kbps=150, buffer_kbit=75)):
        argv = command.encode(_settings(encoder, rate), each_ffmpeg, str(clip), "output.mp4")
        _run(argv, tmp_path)
        sizes.append(probe.probe_video(ffprobe, tmp_path / "output.mp4").video_bytes)
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_every_encoder_has_a_test_encode(encoder: str) -> None:
    argv = command.proof(encoder, Path("/bin/ffmpeg"), "output.mp4")
    assert argv[argv.index("-c:v") + 1] == encoder
    assert encoder_options.check_settings(encoder).problems() == []


def test_options_of_the_allow_list_reach_the_encoder(
    system_ffmpeg: Path, clip: Path, tmp_path: Path
) -> None:
    options = {"bf": "1", "profile": "main", "trellis": "2", "aq-mode": "0"}
    settings = _settings("libx264", RatePoint(crf=30), options=options)
    assert settings.problems() == []
    _run(command.encode(settings, system_ffmpeg, str(clip), "output.mp4"), tmp_path)
    # x264 writes its settings into the stream, where they can be checked.
    written = (tmp_path / "output.mp4").read_bytes()
    for option in (b"bframes=1", b"trellis=2", b"aq=0", b"threads=2"):
        assert option in written


def _run(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(("settings", "expected"), [*CASES, RAV1E])
def test_encoder_options(settings: EncodeSettings, expected: str) -> None:
    argv = command.encode(settings, Path("/bin/ffmpeg"), "source.mp4", "output.mp4")
    assert " ".join(argv).endswith(f"-fps_mode passthrough {expected} -f mp4 output.mp4")


def test_options_around_the_encoder() -> None:
    argv = command.encode(CASES[0][0], Path("/bin/ffmpeg"), "source.mp4", "output.mp4")
    text = " ".join(argv)
    assert text.startswith(
        "/bin/ffmpeg -nostdin -hide_banner -y -progress pipe:1 -stats_period 0.5 -nostats "
        "-filter_threads 2 -xerror -protocol_whitelist file -format_whitelist mov,"
    )
    assert "-threads 2 -noautorotate -i source.mp4 -map 0:V:0 -an -sn -dn" in text


@pytest.mark.slow
@pytest.mark.parametrize("settings", [case[0] for case in CASES])
def test_each_list_encodes_every_frame(
    settings: EncodeSettings, each_ffmpeg: Path, clip: Path, ffprobe: Path, tmp_path: Path
) -> None:
    output = tmp_path / command.OUTPUT_NAME
    argv = command.encode(settings, each_ffmpeg, str(clip), output.name)
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = probe.probe_video(ffprobe, output)
    assert found.codec == ENCODERS[settings.encoder].codec
    assert (found.frames, found.width, found.height) == (40, 320, 180)
    assert (found.pixel_format, found.frame_rate_text) == (settings.pixel_format, "25/1")
    assert found.duration_s == pytest.approx(1.6, abs=0.001)


@pytest.mark.slow
def test_rav1e_encodes_every_frame(
    system_ffmpeg: Path, clip: Path, ffprobe: Path, tmp_path: Path
) -> None:
    argv = command.encode(RAV1E[0], system_ffmpeg, str(clip), "output.mp4")
    _run(argv, tmp_path)
    found = probe.probe_video(ffprobe, tmp_path / "output.mp4")
    assert (found.codec, found.frames, found.pixel_format) == ("av1", 40, "yuv420p")


def test_a_playlist_is_not_opened(ffmpeg: Path, clip: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "source.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile '{clip}'\n", encoding="utf-8")
    argv = command.encode(CASES[0][0], ffmpeg, playlist.name, "output.mp4")
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode > 0
    assert "whitelist" in done.stderr.lower() or "Invalid data" in done.stderr
    assert not (tmp_path / "output.mp4").exists()
