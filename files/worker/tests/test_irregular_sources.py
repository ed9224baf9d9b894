"""Tests of irregular sources, each of which is measured correctly or rejected with a reason.

This module generates the clips, and a complete attempt is made with each of them.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import Measurement, QualityMeasurement
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds.steps.attempt import Tools

from .conftest import attempt, make, scenario

pytestmark = pytest.mark.slow

Making = Callable[[Path, Path], Path]

X264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-g", "25", "-pix_fmt", "yuv420p"]
NO_B = [*X264, "-bf", "0"]
SOUND = ["-f", "lavfi", "-i", "sine=duration=2"]
COPY = ["-c", "copy"]


def _picture(frames: int = 40, size: str = "320x180", rate: int = 25) -> list[str]:
    # The filter testsrc is used, because testsrc2 does not support odd sizes.
    pictures = f"testsrc=size={size}:rate={rate}:duration={frames / rate}"
    return ["-f", "lavfi", "-i", pictures]


def _made(name: str, before: list[str], after: list[str]) -> Making:
    """Return a function that generates the clip `name`."""

    def run(ffmpeg: Path, folder: Path) -> Path:
        make(ffmpeg, before, after, folder / name)
        return folder / name

    return run


def _changed(first: Making, change: Callable[[bytes], bytes]) -> Making:
    """Return a function that generates a clip with `first` and changes its bytes."""

    def run(ffmpeg: Path, folder: Path) -> Path:
        clip = first(ffmpeg, folder)
        clip.write_bytes(change(clip.read_bytes()))
        return clip

    return run


def _copied(
    first: Making, name: str, after: list[str], before: tuple[str, ...] = (), more: str = ""
) -> Making:
    """Return a function that generates the clip `name` from the clip of `first`.

    If `more` is given, a picture with that name is the second input.
    """

    def run(ffmpeg: Path, folder: Path) -> Path:
        inputs = [*before, "-i", str(first(ffmpeg, folder))]
        if more:
            make(ffmpeg, _picture(1), ["-frames:v", "1"], folder / more)
            inputs += ["-i", str(folder / more)]
        make(ffmpeg, inputs, after, folder / name)
        return folder / name

    return run


def _written(name: str, content: str) -> Making:
    def run(_ffmpeg: Path, folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return run


def _truncated(ratio: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * ratio)]


def _zeroed(content: bytes) -> bytes:
    start = len(content) * 2 // 5
    return content[:start] + bytes(3000) + content[start + 3000 :]


def _lost(content: bytes) -> bytes:
    """Remove some complete packets from an MPEG-TS file."""
    start = len(content) // 188 * 2 // 5 * 188
    return content[:start] + content[start + 188 * 600 :]


def _interlaced(name: str, first: str) -> Making:
    fields = f"tinterlace=mode=interleave_{'top' if first == 'tff' else 'bottom'}"
    coding = [*X264, "-flags", "+ilme+ildct", "-x264opts", f"{first}=1"]
    return _made(name, [*_picture(50, rate=50), "-vf", fields], coding)


def _drifting() -> Making:
    """Return a function that generates a clip with 24, and then 25 frames per second.

    The intervals between the frames differ by less than Matroska's rounding of timestamps.
    """
    times = "settb=1/1200,setpts='if(lt(N,40),N*50,2000+(N-40)*48)'"
    keep = ["-vf", times, "-fps_mode", "vfr", "-enc_time_base", "1/1200"]
    return _made("drift.mp4", [*_picture(80), *keep], [*X264, "-video_track_timescale", "1200"])


def _hdr(transfer: str) -> Making:
    tags = f"format=yuv420p10le,setparams=color_primaries=bt2020:color_trc={transfer}"
    coding = ["-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"]
    return _made("hdr.mp4", [*_picture(), "-vf", f"{tags}:colorspace=bt2020nc"], coding)


PLAIN = _made("plain.mp4", _picture(100), X264)
FAST_START = _made("fast.mp4", _picture(100), [*NO_B, "-movflags", "+faststart"])
FRAGMENTS = _made("parts.mp4", _picture(100), [*NO_B, "-movflags", "frag_keyframe+empty_moov"])
MATROSKA = _made("plain.mkv", _picture(100), NO_B)
# The noise makes each frame fill many packets. As MPEG-TS does not mark the end of a file, a
# truncated file is only detected if it ends within a frame.
NOISE = ["-vf", "noise=alls=40:allf=t:all_seed=1"]
TRANSPORT = _made("plain.ts", [*_picture(100), *NOISE], NO_B)
SKIP = ["-vf", "select='not(between(n,5,9))'", "-fps_mode", "vfr"]
NO_START = [*COPY, "-bsf:v", "noise=drop='between(n,0,10)'"]
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nplain.ts\n#EXT-X-ENDLIST\n"
COVER = ["-map", "0:a", "-map", "1:v", "-c:a", "aac", "-c:v", "copy", "-disposition:v:0"]
COVER_FIRST = ["-map", "1:v", "-map", "0:v", *COPY, "-disposition:v:0", "attached_pic"]

REFUSED: dict[str, tuple[Making, str]] = {
    "cut before its index": (
        _changed(_made("cut.mp4", _picture(), X264), _truncated(0.6)),
        "source.mp4 cannot be read",
    ),
    **{
        f"{container}, {ratio:.0%} left": (_changed(making, _truncated(ratio)), reason)
        for container, making, reason in (
            ("MP4 with its index", FAST_START, "the source is damaged: stream 0, offset "),
            ("MP4 in fragments", FRAGMENTS, "the source is damaged: stream 0, offset "),
            ("Matroska", MATROSKA, "the source is damaged: File ended prematurely"),
            ("MPEG-TS", TRANSPORT, "the source cannot be decoded"),
        )
        for ratio in (0.6, 0.97)
    },
    "zeros in MP4": (_changed(FAST_START, _zeroed), "the source is damaged: "),
    "zeros in Matroska": (_changed(MATROSKA, _zeroed), "the source is damaged: "),
    "packets of MPEG-TS lost": (
        _changed(TRANSPORT, _lost),
        "the source's frame rate varies: its frames are from 0.0400 s to ",
    ),
    "begins without a key frame": (
        _copied(MATROSKA, "late.mkv", NO_START),
        "75 of the source's 89 frames can be decoded",
    ),
    "frames left out": (
        _made("uneven.mp4", [*_picture(), *SKIP], X264),
        "the source's frame rate varies: its frames are from 0.0400 s to 0.2400 s apart",
    ),
    "slowly changing rate": (
        _drifting(),
        "the source's frame rate varies: a frame is 0.0329 s away from its place at an even rate",
    ),
    "top field first": (_interlaced("i.mp4", "tff"), "the source is interlaced (tt)"),
    "bottom field first": (_interlaced("i.mp4", "bff"), "the source is interlaced (bb)"),
    "interlaced Matroska": (_interlaced("i.mkv", "tff"), "the source is interlaced (t"),
    "interlaced MPEG-TS": (_interlaced("i.ts", "bff"), "the source is interlaced (bb)"),
    "sound alone": (_made("sound.mp4", SOUND, ["-c:a", "aac"]), "source.mp4 has no video"),
    "sound with a cover": (
        _copied(
            _made("sound.m4a", SOUND, ["-c:a", "aac"]),
            "cover.m4a",
            [*COVER, "attached_pic"],
            more="cover.png",
        ),
        "source.m4a has no video",
    ),
    "nothing": (_written("nothing.mp4", ""), "source.mp4 cannot be read"),
    "text": (_written("text.mp4", "This is not a video.\n" * 50), "source.mp4 cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_unsuitable_source_is_rejected_with_a_reason(
    name: str, ffmpeg: Path, tools: Tools, tmp_path: Path
) -> None:
    making, reason = REFUSED[name]
    error = _fails(making(ffmpeg, tmp_path), tools, tmp_path)
    assert str(error).startswith(reason)
    assert error.failure_class is FailureClass.SOURCE_UNREADABLE
    assert not (tmp_path / "a" / "vmaf.csv").exists()


@pytest.mark.parametrize(
    "content", ["ffconcat version 1.0\nfile plain.ts\n", PLAYLIST], ids=["ffconcat", "m3u8"]
)
def test_a_playlist_named_like_a_video_opens_no_file(
    content: str, ffmpeg: Path, tools: Tools, tmp_path: Path
) -> None:
    TRANSPORT(ffmpeg, tmp_path)
    error = _fails(_written("list.mp4", content)(ffmpeg, tmp_path), tools, tmp_path)
    assert error.failure_class is FailureClass.SOURCE_UNREADABLE
    assert "Format not on whitelist" in error.log_tail


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
def test_an_odd_size_requires_an_explicit_output_size(
    pixel_format: str, ffmpeg: Path, tools: Tools, tmp_path: Path
) -> None:
    coding = ["-c:v", "ffv1", "-pix_fmt", pixel_format]
    odd = _made("odd.mkv", _picture(size="321x181"), coding)(ffmpeg, tmp_path)
    error = _fails(odd, tools, tmp_path)
    assert error.failure_class is FailureClass.INVALID_SETTINGS
    assert str(error).startswith("the source is 321x181, but 4:2:0 frames need an even width")
    measured = _measure(odd, tools, tmp_path / "b", width=320, height=180)
    _check(
        measured, ffmpeg, odd, tmp_path / "b", (40, 320, 180), scaled="scale=321:181:flags=bicubic,"
    )


MEASURED: dict[str, tuple[Making, tuple[int, int, int]]] = {
    "MP4 in fragments": (FRAGMENTS, (100, 320, 180)),
    "an edit list that cuts the beginning": (
        _copied(PLAIN, "edited.mp4", COPY, before=("-ss", "1.3")),
        (67, 320, 180),
    ),
    "copied from a key frame on": (
        _copied(PLAIN, "copied.mkv", COPY, before=("-ss", "1.3")),
        (75, 320, 180),
    ),
    "turned": (
        _copied(PLAIN, "turned.mp4", COPY, before=("-display_rotation", "90")),
        (100, 320, 180),
    ),
    "pixels that are not square": (
        _made("wide.mp4", [*_picture(), "-vf", "setsar=4/3"], X264),
        (40, 320, 180),
    ),
    "a cover before the video": (
        _copied(PLAIN, "covered.mp4", COVER_FIRST, more="cover.png"),
        (100, 320, 180),
    ),
    "the first of two videos": (
        _made(
            "two.mp4",
            [*_picture(), *_picture(60, "160x90")],
            ["-map", "0:v", "-map", "1:v", *X264],
        ),
        (40, 320, 180),
    ),
    **{
        f"begins at seven seconds, {suffix}": (
            _made(f"late.{suffix}", _picture(), [*X264, "-output_ts_offset", "7"]),
            (40, 320, 180),
        )
        for suffix in ("mkv", "ts", "mp4")
    },
    "sound before the video": (
        _made(
            "late.mp4", [*_picture(), *SOUND, "-vf", "setpts=PTS+0.5/TB"], [*X264, "-c:a", "aac"]
        ),
        (40, 320, 180),
    ),
    **{
        f"{frames} frames": (_made("few.mp4", _picture(frames), X264), (frames, 320, 180))
        for frames in (1, 2, 4)
    },
    **{
        pixel_format: (
            _made(f"{pixel_format}.mkv", _picture(), ["-c:v", "ffv1", "-pix_fmt", pixel_format]),
            (40, 320, 180),
        )
        for pixel_format in ("yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
    },
    "full range": (
        _made("full.mp4", [*_picture(), "-vf", "scale=out_range=pc,format=yuv420p"], X264),
        (40, 320, 180),
    ),
    "Motion JPEG": (
        _made("jpeg.mov", _picture(), ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "2"]),
        (40, 320, 180),
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_measurements_equal_independent_ones(
    name: str, ffmpeg: Path, tools: Tools, tmp_path: Path
) -> None:
    making, expected = MEASURED[name]
    clip = making(ffmpeg, tmp_path)
    measured = _measure(clip, tools, tmp_path / "a")
    _check(measured, ffmpeg, clip, tmp_path / "a", expected)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_encoded_with_unavailable_quality(
    transfer: str, ffmpeg: Path, tools: Tools, tmp_path: Path
) -> None:
    clip = _hdr(transfer)(ffmpeg, tmp_path)
    measured = _measure(clip, tools, tmp_path / "a")
    reason = f"the output is HDR ({transfer}), for which there is no model"
    assert measured.quality == Unavailable(reason=reason)
    assert measured.encode.frames == len(_frames(ffmpeg, clip)) == 40
    assert measured.verdict is not None
    # The speed is that of any other clip, whether or not there is a model for its quality. The
    # reasons depend on the load of this computer.
    assert measured.verdict.state != "invalid"
    assert "quality-unavailable" not in [found.code for found in measured.verdict.reasons]


def _measure(clip: Path, tools: Tools, folder: Path, **settings: object) -> Measurement:
    spec = scenario(clip, **({"preset": "ultrafast"} | settings))
    return kinds.run_attempt(attempt(spec, clip, folder, tools))


def _fails(clip: Path, tools: Tools, tmp_path: Path) -> AttemptFailedError:
    with pytest.raises(AttemptFailedError) as caught:
        _measure(clip, tools, tmp_path / "a")
    return caught.value


def _check(
    measured: Measurement,
    ffmpeg: Path,
    clip: Path,
    folder: Path,
    expected: tuple[int, int, int],
    *,
    scaled: str = "",
) -> None:
    """Compare the measured frames, bytes, durations and quality with independent measurements."""
    frames, width, height = expected
    output, written = measured.output, folder / "output.mp4"
    assert output is not None
    assert len(_frames(ffmpeg, clip)) == len(_frames(ffmpeg, written)) == frames
    assert measured.encode.frames == output.frames == frames
    assert (output.width, output.height, output.frame_rate) == (width, height, "25/1")
    assert output.duration_s == pytest.approx(frames / 25, abs=0.001)
    assert measured.encode.speed * measured.encode.wall_s == pytest.approx(frames / 25)
    sizes = [int(row[4]) for row in _rows(ffmpeg, written, ["-c", "copy", "-f", "framecrc", "-"])]
    assert output.video_bytes == sum(sizes)
    assert output.video_bitrate_kbps == pytest.approx(sum(sizes) * 8 / 1000 / (frames / 25))
    assert isinstance(measured.quality, QualityMeasurement), measured.quality
    assert measured.quality.pairs == frames
    by_hand = _vmaf(ffmpeg, written, clip, scaled)
    assert measured.quality.vmaf_mean == pytest.approx(by_hand, abs=0.01)
    assert measured.quality.vmaf_mean > 60


def _frames(ffmpeg: Path, clip: Path) -> list[list[str]]:
    """Decode a clip without the code under test, and return a row for each frame."""
    return _rows(ffmpeg, clip, ["-fps_mode", "passthrough", "-f", "framemd5", "-"])


def _rows(ffmpeg: Path, clip: Path, into: list[str]) -> list[list[str]]:
    command = [str(ffmpeg), "-nostdin", "-v", "error", "-i", str(clip), "-map", "0:V:0", *into]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.split(",") for line in output.splitlines() if not line.startswith("#")]


def _vmaf(ffmpeg: Path, distorted: Path, reference: Path, scaled: str) -> float:
    """Return the VMAF without the code under test.

    Frames are paired by their number and converted to the greater bit depth of the two clips.
    """
    same = f"format={'yuv420p10le' if '10le' in reference.stem else 'yuv420p'}"
    log = distorted.with_suffix(".by-hand.json")
    graph = (
        f"[0:V:0]settb=1/25,setpts=N,{scaled}{same}[d];[1:V:0]settb=1/25,setpts=N,{same}[r];"
        f"[d][r]libvmaf=model=version=vmaf_v0.6.1:log_fmt=json:log_path={log}"
    )
    inputs = [
        word for clip in (distorted, reference) for word in ("-noautorotate", "-i", str(clip))
    ]
    command = [str(ffmpeg), "-v", "error", "-nostdin", *inputs, "-filter_complex", graph]
    subprocess.run([*command, "-f", "null", "-"], check=True)
    mean = msgspec.json.decode(log.read_bytes())["pooled_metrics"]["vmaf"]["mean"]
    assert isinstance(mean, float)
    return mean
