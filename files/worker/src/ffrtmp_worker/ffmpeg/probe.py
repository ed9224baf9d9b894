"""What ffprobe finds in a file."""

import re
import subprocess
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import msgspec

from ffrtmp_worker.ffmpeg.command import input_guard

_TIMEOUT_S = 600.0
_ENTRIES = (
    "packet=size,pts_time,duration_time,flags:stream=codec_name,profile,level,has_b_frames,"
    "width,height,pix_fmt,avg_frame_rate,field_order,color_range,color_space,color_primaries,color_transfer"
)

_ROUNDING_S = 0.0011
_RATE_SLACK = Fraction(1, 2000)
# "[matroska,webm @ 0x55a1b2c3] File ended prematurely": an address helps nobody.
_SPEAKER = re.compile(r"^\[[^]]* @ 0x[0-9a-f]+\] ", re.MULTILINE)


def is_same_rate(first: Fraction, second: Fraction) -> bool:
    """Whether two frame rates are the same but for what containers make of them.

    Matroska's time stamps are whole milliseconds, so that the mean rate of a short clip is off
    by a few parts in a million. 59.94 and 60 frames a second are 1 part in 1,000 apart.
    """
    return abs(first - second) <= _RATE_SLACK * first


class UnreadableFileError(Exception):
    """ffprobe finds no video in a file; `log_tail` has what it said."""

    def __init__(self, message: str, log_tail: str) -> None:
        """Keep ffprobe's own words apart from ours."""
        super().__init__(message)
        self.log_tail = log_tail


class Colour(msgspec.Struct, frozen=True, kw_only=True):
    """How sample values are to be understood; None where the file does not say."""

    range: str | None
    matrix: str | None
    primaries: str | None
    transfer: str | None


class VideoProbe(msgspec.Struct, frozen=True, kw_only=True):
    """The first video stream of a file.

    `frames` counts the packets that are shown, `duration_s` is the sum of their durations and
    `video_bytes` that of the sizes of all packets. `longest_gap_s` and `shortest_gap_s` are the
    extremes between the times of two neighbouring frames, `drift_s` the furthest that a frame
    stands from where frames at even distances would have it. `peak_second_bytes` is the most that
    the packets of any second from a frame on hold; None for what is shorter than that.
    `gop_max_frames` is the most frames from one key frame to before the next, `level` the codec's
    own number, and `reorder_frames` what B-frames make a decoder hold back. `complaints` is what
    ffprobe said is wrong with the file, or "".
    """

    codec: str
    width: int
    height: int
    pixel_format: str
    frame_rate: Fraction
    field_order: str
    colour: Colour
    frames: int
    duration_s: float
    video_bytes: int
    shortest_gap_s: float
    longest_gap_s: float
    drift_s: float
    untimed_frames: int
    peak_second_bytes: int | None
    key_frames: int
    gop_max_frames: int
    profile: str | None
    level: int | None
    reorder_frames: int
    complaints: str

    @property
    def frame_rate_text(self) -> str:
        """The frame rate as FFmpeg writes it, such as `30000/1001`."""
        return f"{self.frame_rate.numerator}/{self.frame_rate.denominator}"


class _Packet(msgspec.Struct, frozen=True):
    size: str
    pts_time: str | None = None
    duration_time: str | None = None
    flags: str = ""


class _ProbedStream(msgspec.Struct, frozen=True):
    codec_name: str | None = None
    width: int = 0
    height: int = 0
    pix_fmt: str | None = None
    profile: str | None = None
    level: int = -99
    has_b_frames: int = 0
    avg_frame_rate: str = "0/0"
    field_order: str = "unknown"
    color_range: str | None = None
    color_space: str | None = None
    color_primaries: str | None = None
    color_transfer: str | None = None


class _ProbeOutput(msgspec.Struct, frozen=True):
    packets: list[_Packet] = []
    streams: list[_ProbedStream] = []


def probe_video(ffprobe: Path, file: Path) -> VideoProbe:
    """Read all packets of the first video stream of `file`, decoding none.

    Raises UnreadableFileError when there is no video in it that can be read.
    """
    argv = [
        str(ffprobe), "-v", "error", *input_guard(), "-select_streams", "V:0",
        "-show_entries", _ENTRIES, "-of", "json", str(file),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableFileError(
            f"{file.name} was not read within {_TIMEOUT_S:g} s", ""
        ) from error
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        raise UnreadableFileError(f"{file.name} cannot be read", said)
    answer = msgspec.json.decode(done.stdout, type=_ProbeOutput)
    if not answer.streams or not answer.packets:
        raise UnreadableFileError(f"{file.name} has no video", said)
    return _summary(file.name, answer.streams[0], answer.packets, said)


def _summary(name: str, stream: _ProbedStream, packets: list[_Packet], said: str) -> VideoProbe:
    if stream.codec_name is None or stream.pix_fmt is None or not stream.width:
        raise UnreadableFileError(f"the video in {name} cannot be understood", said)
    num, _, den = stream.avg_frame_rate.partition("/")
    if int(num) <= 0 or int(den or 1) <= 0:
        raise UnreadableFileError(f"the video in {name} has no frame rate", said)
    # D marks packets that an edit list cuts off: they are decoded and not shown.
    shown = [packet for packet in packets if "D" not in packet.flags]
    timed = sorted(
        ((float(packet.pts_time), packet) for packet in shown if packet.pts_time is not None),
        key=itemgetter(0),
    )
    times = [time_s for time_s, _ in timed]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    frame_rate = Fraction(int(num), int(den or 1))
    frame_s = float(1 / frame_rate)
    return VideoProbe(
        codec=stream.codec_name,
        width=stream.width,
        height=stream.height,
        # A full range was once told by a format of its own; now it is told beside the format.
        pixel_format=stream.pix_fmt.replace("yuvj", "yuv"),
        frame_rate=frame_rate,
        field_order=stream.field_order,
        colour=Colour(
            range="pc" if stream.pix_fmt.startswith("yuvj") else _known(stream.color_range),
            matrix=_known(stream.color_space),
            primaries=_known(stream.color_primaries),
            transfer=_known(stream.color_transfer),
        ),
        frames=len(shown),
        duration_s=sum(
            frame_s if packet.duration_time is None else float(packet.duration_time)
            for packet in shown
        ),
        video_bytes=sum(int(packet.size) for packet in packets),
        shortest_gap_s=min(gaps, default=frame_s),
        longest_gap_s=max(gaps, default=frame_s),
        drift_s=_drift_s(times),
        untimed_frames=len(shown) - len(times),
        peak_second_bytes=_peak_second_bytes(
            [(time_s, int(packet.size)) for time_s, packet in timed], frame_s
        ),
        key_frames=sum("K" in packet.flags for packet in shown),
        gop_max_frames=_gop_max_frames(["K" in packet.flags for _, packet in timed]),
        profile=_known(stream.profile),
        level=stream.level if stream.level >= 0 else None,
        reorder_frames=stream.has_b_frames,
        complaints=_SPEAKER.sub("", said),
    )


def _peak_second_bytes(packets: list[tuple[float, int]], frame_s: float) -> int | None:
    """Return the most bytes in any second that begins with a frame and lies within the clip."""
    peak: int | None = None
    end, held = 0, 0
    clip_end_s = packets[-1][0] + frame_s if packets else 0.0
    for start_s, size in packets:
        if start_s + 1.0 > clip_end_s + _ROUNDING_S:
            break
        while end < len(packets) and packets[end][0] < start_s + 1.0 - _ROUNDING_S:
            held += packets[end][1]
            end += 1
        peak = held if peak is None else max(peak, held)
        held -= size
    return peak


def _gop_max_frames(are_keys: list[bool]) -> int:
    """Return the most frames from one key frame to before the next, or to the end."""
    places = [place for place, is_key in enumerate(are_keys) if is_key]
    return max((later - sooner for sooner, later in pairwise([*places, len(are_keys)])), default=0)


def _drift_s(times: list[float]) -> float:
    """Return how far a frame stands at most from where even distances would have it."""
    if not times:
        return 0.0
    step_s = (times[-1] - times[0]) / max(len(times) - 1, 1)
    return max(abs(at - times[0] - step_s * number) for number, at in enumerate(times))


def _known(value: str | None) -> str | None:
    return None if value in (None, "unknown", "unspecified", "reserved") else value
