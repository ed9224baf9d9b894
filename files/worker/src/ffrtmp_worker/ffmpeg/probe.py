"""Properties of a video file, read with ffprobe."""

import re
import shlex
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ffrtmp_worker.ffmpeg import process
from ffrtmp_worker.ffmpeg.arguments import input_guard
from ffrtmp_worker.ffmpeg.packet_list import InvalidListError, PacketList, VideoFormat

MAX_PACKETS = 2_500_000
"""Default of the maximum number of packets of a video, eleven hours at 60 frames per second. Their
list needs up to 190 MiB of memory."""

PROBE_DEADLINE_S = 600.0
"""Maximum time for listing the packets of a video, in seconds."""

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
        duration_s: The time from the begin of the first to the end of the last displayed packet;
            if packets have no time stamps, the sum of the durations.
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


def probe_video(
    ffprobe: Path,
    file: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    max_packets: int = MAX_PACKETS,
    deadline_s: float = PROBE_DEADLINE_S,
) -> VideoProbe:
    """Return the properties of the first video stream of `file`; see `list_packets`."""
    found, packets, log = list_packets(
        ffprobe, file, stop=stop, max_packets=max_packets, deadline_s=deadline_s
    )
    return summarize_packets(file.name, found, packets, log)


def list_packets(
    ffprobe: Path,
    file: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    max_packets: int = MAX_PACKETS,
    deadline_s: float = PROBE_DEADLINE_S,
    guard: Sequence[str] = (),
) -> tuple[VideoFormat, PacketList, str]:
    """Read all packets of the first video stream of `file` without decoding them.

    Args:
        ffprobe: The ffprobe to use.
        file: The file.
        stop: A function that returns true when the probe is to stop.
        max_packets: The maximum number of video packets.
        deadline_s: The maximum duration of the probe, in seconds.
        guard: The options that restrict the input; by default, those of `input_guard`.

    Returns:
        The format of the video, its packets, and ffprobe's messages about damage of the file.

    Raises:
        UnreadableFileError: The file has no readable video, exceeds a limit, or the probe was to
            stop.
        OSError: ffprobe cannot be started.
    """
    argv = [
        str(ffprobe), "-v", "error", *(guard or input_guard()), "-select_streams", "V:0",
        "-show_entries", _ENTRIES, "-of", "compact", str(file.absolute()),
    ]  # fmt: skip
    packets = PacketList(max_packets)
    problems: list[str] = []

    def add_line(line: str, _elapsed_s: float) -> None:
        if problems:
            return
        try:
            packets.add_line(line)
        except InvalidListError as error:
            problems.append(str(error))

    with tempfile.TemporaryDirectory(prefix="ffrtmp-probe-") as folder:
        outcome = process.run_process(
            argv,
            cwd=Path(folder),
            log=Path(folder) / "probe.log",
            deadline_s=deadline_s,
            stop=lambda: bool(problems) or stop(),
            on_line=add_line,
        )
    log = _messages(outcome.log_tail, argv)
    if problems:
        raise UnreadableFileError(f"{file.name} cannot be used: {problems[0]}", log)
    if outcome.stopped_by is process.StoppedBy.DEADLINE:
        raise UnreadableFileError(f"{file.name} was not read within {deadline_s:g} s", log)
    if outcome.stopped_by is not None:
        raise UnreadableFileError(f"the probe of {file.name} was stopped", log)
    if outcome.exit_code:
        raise UnreadableFileError(f"{file.name} cannot be read", log)
    if packets.format is None or not len(packets):
        raise UnreadableFileError(f"{file.name} has no video", log)
    return packets.format, packets, log


def _messages(log_tail: str, argv: list[str]) -> str:
    """Return the messages of ffprobe without the command, which is the first line of the log."""
    return log_tail.removeprefix(shlex.join(argv)).strip()


def summarize_packets(name: str, found: VideoFormat, packets: PacketList, log: str) -> VideoProbe:
    """Return the properties of a video from its format and packets.

    Args:
        name: The name of the file.
        found: The format.
        packets: The packets.
        log: ffprobe's messages about damage of the file.

    Raises:
        UnreadableFileError: The format is unknown or the video has no frame rate.
    """
    if found.codec is None or found.pixel_format is None or not found.width:
        raise UnreadableFileError(f"the video in {name} has an unknown format", log)
    frame_rate = found.frame_rate
    if frame_rate is None:
        raise UnreadableFileError(f"the video in {name} has no frame rate", log)
    flags = np.frombuffer(packets.flags, dtype=np.uint8)
    shown = (flags & PacketList.IS_DISCARDED) == 0
    are_keys = (flags & PacketList.IS_KEY) != 0
    times_s, sizes_bytes = np.array(packets.times_s), np.array(packets.sizes_bytes)
    timed = np.flatnonzero(shown & ~np.isnan(times_s))
    timed = timed[np.argsort(times_s[timed], kind="stable")]
    times = times_s[timed]
    gaps = np.diff(times)
    frame_s = float(1 / frame_rate)
    durations_s = np.array(packets.durations_s)
    durations_s[np.isnan(durations_s)] = frame_s
    frames = int(shown.sum())
    if frames and frames == len(times):
        # ffprobe rounds durations to microseconds. A sum of 90,000 of them can be wrong by 45 ms.
        duration_s = float(times[-1] - times[0] + durations_s[timed[-1]])
    else:
        duration_s = float(durations_s[shown].sum())
    return VideoProbe(
        codec=found.codec,
        width=found.width,
        height=found.height,
        # The obsolete yuvj formats imply the full range, which is stored in `colour` instead.
        pixel_format=found.pixel_format.replace("yuvj", "yuv"),
        frame_rate=frame_rate,
        field_order=found.field_order,
        colour=Colour(
            range="pc" if found.pixel_format.startswith("yuvj") else found.color_range,
            matrix=found.color_space,
            primaries=found.color_primaries,
            transfer=found.color_transfer,
        ),
        frames=frames,
        duration_s=duration_s,
        video_bytes=int(sizes_bytes.sum()),
        shortest_gap_s=float(gaps.min(initial=np.inf)) if len(gaps) else frame_s,
        longest_gap_s=float(gaps.max(initial=-np.inf)) if len(gaps) else frame_s,
        drift_s=_drift_s(times),
        untimed_frames=frames - len(times),
        peak_second_bytes=_peak_second_bytes(times, sizes_bytes[timed], frame_s),
        key_frames=int((are_keys & shown).sum()),
        gop_max_frames=_gop_max_frames(are_keys[timed]),
        profile=found.profile,
        level=found.level,
        reorder_frames=found.reorder_frames,
        complaints=_LOG_PREFIX.sub("", log),
    )


def _peak_second_bytes(
    times_s: NDArray[np.float64], sizes_bytes: NDArray[np.int64], frame_s: float
) -> int | None:
    """Return the largest size of any second that starts with a frame; None in a shorter clip."""
    if not len(times_s):
        return None
    clip_end_s = times_s[-1] + frame_s
    starts = np.flatnonzero(times_s + 1.0 <= clip_end_s + _ROUNDING_S)
    if not len(starts):
        return None
    ends = np.searchsorted(times_s, times_s[starts] + 1.0 - _ROUNDING_S, side="left")
    totals = np.concatenate(([0], np.cumsum(sizes_bytes)))
    return int((totals[ends] - totals[starts]).max())


def _gop_max_frames(are_keys: NDArray[np.bool_]) -> int:
    """Return the largest number of frames from a key frame up to the next one or to the end."""
    positions = np.flatnonzero(are_keys)
    return int(np.diff(np.append(positions, len(are_keys))).max(initial=0)) if len(positions) else 0


def _drift_s(times_s: NDArray[np.float64]) -> float:
    """Return the largest deviation of the time of a frame from its time at a constant rate."""
    if not len(times_s):
        return 0.0
    step_s = (times_s[-1] - times_s[0]) / max(len(times_s) - 1, 1)
    return float(np.abs(times_s - times_s[0] - step_s * np.arange(len(times_s))).max())
