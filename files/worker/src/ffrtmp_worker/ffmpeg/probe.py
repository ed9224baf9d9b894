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
from ffrtmp_worker.ffmpeg.frame_flags import FrameFlags, read_frame_flags
from ffrtmp_worker.ffmpeg.frame_rate import find_frame_rate, is_same_rate
from ffrtmp_worker.ffmpeg.packet_list import InvalidListError, PacketList, VideoFormat

MAX_PACKETS = 2_500_000
"""Default of the maximum number of packets of a video, eleven hours at 60 frames per second. Their
list needs up to 190 MiB of memory."""

PROBE_DEADLINE_S = 600.0
"""Maximum time for listing the packets of a video, in seconds."""

_ENTRIES = (
    "packet=size,pts_time,duration_time,flags:stream=codec_name,profile,level,has_b_frames,"
    "width,height,pix_fmt,avg_frame_rate,r_frame_rate,time_base,duration,field_order,"
    "color_range,color_space,color_primaries,color_transfer"
)

_ROUNDING_S = 0.0011
_FRAMES_OF_HEADER_SLACK = 2.5
"""Largest difference between the stated and the counted duration, in frames, that is not reported:
an edit list may show a part of a frame, and some containers state the last time stamp."""

# Matches the prefix of a message such as "[matroska,webm @ 0x55a1b2c3] File ended prematurely".
_LOG_PREFIX = re.compile(r"^\[[^]]* @ 0x[0-9a-f]+\] ", re.MULTILINE)


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
        frame_rate: The rate that the time stamps have; see `find_frame_rate`.
        frames: The number of displayed packets.
        duration_s: The time from the begin of the first frame to the end of the last one, each of
            which is displayed for the same time; if packets have no time stamps, the sum of their
            durations.
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
        begins_with_key: Whether the first packet is that of a key frame.
        header_faults: The values in the header that disagree with the time stamps.
        flags: The properties of the first decoded frames.
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
    begins_with_key: bool = True
    header_faults: tuple[str, ...] = ()
    flags: FrameFlags = FrameFlags()

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
    """Return the properties of the first video stream of `file`; see `list_packets`.

    The packets are not decoded, except for those of the first frames.
    """
    found, packets, log = list_packets(
        ffprobe, file, stop=stop, max_packets=max_packets, deadline_s=deadline_s
    )
    flags = read_frame_flags(ffprobe, file, stop=stop)
    return msgspec.structs.replace(summarize_packets(file.name, found, packets, log), flags=flags)


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
    flags = np.frombuffer(packets.flags, dtype=np.uint8)
    shown = (flags & PacketList.IS_DISCARDED) == 0
    are_keys = (flags & PacketList.IS_KEY) != 0
    times_s, sizes_bytes = np.array(packets.times_s), np.array(packets.sizes_bytes)
    timed = np.flatnonzero(shown & ~np.isnan(times_s))
    timed = timed[np.argsort(times_s[timed], kind="stable")]
    times = times_s[timed]
    gaps = np.diff(times)
    durations_s = np.array(packets.durations_s)
    frames = int(shown.sum())
    frame_rate = _frame_rate(found, times, durations_s[shown])
    if frame_rate is None:
        raise UnreadableFileError(f"the video in {name} has no frame rate", log)
    frame_s = float(1 / frame_rate)
    if frames and frames == len(times):
        duration_s = float(times[-1] - times[0]) + frame_s
    else:
        durations_s[np.isnan(durations_s)] = frame_s
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
        begins_with_key=bool(are_keys[0]),
        header_faults=_header_faults(found, frame_rate, duration_s, len(times)),
    )


def _frame_rate(
    found: VideoFormat, times_s: NDArray[np.float64], durations_s: NDArray[np.float64]
) -> Fraction | None:
    """Return the frame rate of displayed frames, or None if nothing in the file tells it."""
    stated = [rate for rate in (found.frame_rate, found.base_rate) if rate is not None]
    known_s = durations_s[durations_s > 0]
    if len(known_s):
        stated.append(Fraction(1 / float(known_s[0])).limit_denominator(1001))
    return find_frame_rate(times_s, stated, found.time_base)


def _header_faults(
    found: VideoFormat, frame_rate: Fraction, duration_s: float, frames: int
) -> tuple[str, ...]:
    """Return the values that the header states and that differ from those of the time stamps."""
    if frames < 2:  # noqa: PLR2004
        return ()
    faults = []
    if found.frame_rate is not None and not is_same_rate(found.frame_rate, frame_rate):
        faults.append(
            f"the header states {float(found.frame_rate):.6g} frames a second, but the time stamps "
            f"{float(frame_rate):.6g}"
        )
    slack_s = _FRAMES_OF_HEADER_SLACK / float(frame_rate)
    if found.duration_s is not None and abs(found.duration_s - duration_s) > slack_s:
        faults.append(
            f"the header states a duration of {found.duration_s:.3f} s, but the time stamps "
            f"{duration_s:.3f} s"
        )
    return tuple(faults)


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
