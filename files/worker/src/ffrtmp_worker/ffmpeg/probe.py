"""Properties of a video file, read with ffprobe."""

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
# Matches the prefix of a message such as "[matroska,webm @ 0x55a1b2c3] File ended prematurely".
_LOG_PREFIX = re.compile(r"^\[[^]]* @ 0x[0-9a-f]+\] ", re.MULTILINE)


def is_same_rate(first: Fraction, second: Fraction) -> bool:
    """Return whether two frame rates are equal apart from the rounding of containers.

    Matroska's time stamps are whole milliseconds, so the mean rate of a short clip is off by a few
    parts in a million. 59.94 and 60 frames per second differ by 1 part in 1,000.
    """
    return abs(first - second) <= _RATE_SLACK * first


class UnreadableFileError(Exception):
    """ffprobe cannot read a video from a file; `log_tail` contains ffprobe's messages."""

    def __init__(self, message: str, log_tail: str) -> None:
        """Create the error with the messages of ffprobe in `log_tail`."""
        super().__init__(message)
        self.log_tail = log_tail


class Colour(msgspec.Struct, frozen=True, kw_only=True):
    """Color properties of a video. A property that the file does not specify is None."""

    range: str | None
    matrix: str | None
    primaries: str | None
    transfer: str | None


class VideoProbe(msgspec.Struct, frozen=True, kw_only=True):
    """The first video stream of a file.

    Attributes:
        frames: The number of displayed packets.
        duration_s: The sum of the durations of the displayed packets.
        video_bytes: The sum of the sizes of all packets.
        shortest_gap_s: The shortest time between consecutive frames.
        longest_gap_s: The longest time between consecutive frames.
        drift_s: The largest difference between the time of a frame and the time that it would have
            at a constant frame rate.
        untimed_frames: The number of displayed packets without a time stamp.
        peak_second_bytes: The largest total size of the packets in any second that starts with a
            frame, or None if the clip is shorter than a second.
        gop_max_frames: The largest number of frames from a key frame up to the next one.
        level: The level, as the number that the codec uses for it.
        reorder_frames: The number of frames that a decoder delays because of B-frames.
        complaints: The messages of ffprobe about damage of the file, or "".
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
        """The frame rate in FFmpeg's notation, such as `30000/1001`."""
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
    """Read all packets of the first video stream of `file` without decoding them.

    Raises UnreadableFileError if the file has no readable video.
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
    log = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        raise UnreadableFileError(f"{file.name} cannot be read", log)
    answer = msgspec.json.decode(done.stdout, type=_ProbeOutput)
    if not answer.streams or not answer.packets:
        raise UnreadableFileError(f"{file.name} has no video", log)
    return _summary(file.name, answer.streams[0], answer.packets, log)


def _summary(name: str, stream: _ProbedStream, packets: list[_Packet], log: str) -> VideoProbe:
    if stream.codec_name is None or stream.pix_fmt is None or not stream.width:
        raise UnreadableFileError(f"the video in {name} has an unknown format", log)
    num, _, den = stream.avg_frame_rate.partition("/")
    if int(num) <= 0 or int(den or 1) <= 0:
        raise UnreadableFileError(f"the video in {name} has no frame rate", log)
    # The flag D marks packets that an edit list removes: they are decoded, but not displayed.
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
        # The obsolete yuvj formats imply the full range, which is stored in `colour` instead.
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
        complaints=_LOG_PREFIX.sub("", log),
    )


def _peak_second_bytes(packets: list[tuple[float, int]], frame_s: float) -> int | None:
    """Return the largest size of any second that starts with a frame; None in a shorter clip."""
    peak: int | None = None
    end, window_bytes = 0, 0
    clip_end_s = packets[-1][0] + frame_s if packets else 0.0
    for start_s, size in packets:
        if start_s + 1.0 > clip_end_s + _ROUNDING_S:
            break
        while end < len(packets) and packets[end][0] < start_s + 1.0 - _ROUNDING_S:
            window_bytes += packets[end][1]
            end += 1
        peak = window_bytes if peak is None else max(peak, window_bytes)
        window_bytes -= size
    return peak


def _gop_max_frames(are_keys: list[bool]) -> int:
    """Return the largest number of frames from a key frame up to the next one or to the end."""
    positions = [position for position, is_key in enumerate(are_keys) if is_key]
    return max(
        (later - sooner for sooner, later in pairwise([*positions, len(are_keys)])), default=0
    )


def _drift_s(times: list[float]) -> float:
    """Return the largest deviation of the time of a frame from its time at a constant rate."""
    if not times:
        return 0.0
    step_s = (times[-1] - times[0]) / max(len(times) - 1, 1)
    return max(abs(time_s - times[0] - step_s * number) for number, time_s in enumerate(times))


def _known(value: str | None) -> str | None:
    return None if value in (None, "unknown", "unspecified", "reserved") else value
