"""Excerpt of a clip, or a loop of it, that is encoded in each measurement."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ffrtmp_worker.ffmpeg import command as ffmpeg_command
from ffrtmp_worker.ffmpeg.packet_list import PacketList
from ffrtmp_worker.ffmpeg.probe import UnreadableFileError, probe_video
from ffrtmp_worker.measure.output import source_problems

from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.local.clip import Clip
from ffrtmp_cli.local.ffmpeg_programs import Programs

_TIMEOUT_S = 600.0
_SLACK_S = 0.002
# Time stamps of some containers are rounded, so a seek to exactly a key frame may miss it.
_SEEK_SLACK_S = 0.002
# Longest distance between the end of the excerpt and the number of frames asked for: the frames of
# two groups of B frames.
_MOST_FRAMES_LESS = 32
_MOST_KEYS = 50
_PROTOCOLS = ("-protocol_whitelist", "file")
_LOSSLESS = {
    ".mp4": ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0"),
    # For an FFmpeg without x264.
    ".mkv": ("-c:v", "ffv1"),
}
_EIGHT_BITS = 8
_INTERLACED = ("tt", "bb", "tb", "bt")


@dataclass(frozen=True)
class Excerpt:
    """A file to measure.

    Attributes:
        file: The file.
        frames: The number of its frames.
        remarks: How it differs from the clip.
    """

    file: Path
    frames: int
    remarks: tuple[str, ...]


def cut_excerpt(
    clip: Clip, programs: Programs, frames: int, size: tuple[int, int], target: Path
) -> Excerpt:
    """Store an excerpt of a clip. If the clip is too short, it is repeated.

    The packets are copied, so that the content and the cost of decoding are those of the clip. If
    that is not possible, the frames are decoded, converted to 4:2:0 with 8 or 10 bits and encoded
    without further loss.

    Args:
        clip: The clip.
        programs: FFmpeg and ffprobe.
        frames: The number of frames. A copied excerpt may have a few frames less.
        size: Width and height of the excerpt, in pixels.
        target: The path of the excerpt without its suffix.

    Returns:
        The excerpt.

    Raises:
        CommandError: The clip cannot be decoded.
    """
    filters, remarks = _conversions(clip, size)
    if not remarks:
        part = find_part(clip.packets, clip.frame_rate, min(frames, clip.probe.frames))
        for suffix in ("mp4", "mkv"):
            file = target.with_suffix(f".{suffix}")
            if part is not None and _copy(clip, programs, part, frames, file):
                count = _usable_frames(programs, file)
                if count:
                    return Excerpt(file, count, ())
        remarks = ["it cannot be cut without decoding it"]
    chain = ["-vf", ",".join(filters)] if filters else []
    before, after = clip.probe.pixel_format, stored_format(programs, clip.probe.pixel_format)
    chain += ["-pix_fmt", after]
    if after != before:
        remarks.append(f"its pixel format {before} was converted to {after}")
    for suffix, codec in _LOSSLESS.items():
        file = target.with_suffix(suffix)
        if _convert(clip, programs, [*chain, *codec], frames, file):
            count = _usable_frames(programs, file)
            if count:
                return Excerpt(file, count, tuple(remarks))
    raise CommandError(
        f"{clip.name} cannot be decoded frame by frame: check it with `ffmpeg -i FILE -f null -`, "
        "convert it to an intact clip with a constant frame rate, and use the result"
    )


def stored_format(programs: Programs, pixel_format: str) -> str:
    """Return the pixel format in which frames are stored, which all encoders accept.

    Args:
        programs: FFmpeg and ffprobe.
        pixel_format: The pixel format of the clip.

    Returns:
        `yuv420p10le` if the pixel format has more than eight bits per sample, or `yuv420p`.
    """
    command = [str(programs.ffprobe.path), "-v", "error", "-show_pixel_formats", "-of", "json"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
    )
    known = json.loads(done.stdout or b"{}").get("pixel_formats", ())
    depths = [
        component["bit_depth"]
        for found in known
        if found["name"] == pixel_format
        for component in found.get("components", ())
    ]
    return "yuv420p10le" if max(depths, default=_EIGHT_BITS) > _EIGHT_BITS else "yuv420p"


def find_part(packets: PacketList, frame_rate: float, frames: int) -> tuple[float, int] | None:
    """Return the part of a video that can be cut without decoding, near its middle.

    The part begins with a key frame, and no frame is missing in it, although the packets of a video
    with B frames are not stored in the order of their display.

    Args:
        packets: The packets of the video.
        frame_rate: Frames per second.
        frames: The number of frames.

    Returns:
        The time of the key frame in seconds, and the number of frames, which may be a few less; or
        None if there is no such part.
    """
    times_s = np.array(packets.times_s)
    flags = np.frombuffer(packets.flags, dtype=np.uint8)
    if np.isnan(times_s).any():
        return None
    keys = np.flatnonzero(flags & PacketList.IS_KEY)
    middle = (len(times_s) - frames) / 2
    for start in sorted(keys.tolist(), key=lambda key: abs(key - middle))[:_MOST_KEYS]:
        if len(times_s) - start < frames:
            continue
        count = _complete_frames(packets, frame_rate, start, frames)
        if count:
            return float(times_s[start]), count
    return None


def _complete_frames(packets: PacketList, frame_rate: float, start: int, frames: int) -> int:
    """Return the number of packets from one on among whose frames none is missing.

    It is at most the number of frames asked for, and 0 if there is none that is only a few less.
    """
    times_s = np.array(packets.times_s)
    flags = np.frombuffer(packets.flags, dtype=np.uint8)
    for count in range(frames, max(frames - _MOST_FRAMES_LESS, 0), -1):
        part = times_s[start : start + count]
        missing = np.ptp(part) * frame_rate - count + 1
        is_shown = not (flags[start : start + count] & PacketList.IS_DISCARDED).any()
        if part.min() >= part[0] and abs(missing) <= _SLACK_S * frame_rate and is_shown:
            return count
    return 0


def _conversions(clip: Clip, size: tuple[int, int]) -> tuple[list[str], list[str]]:
    """Return the filters that an excerpt needs, and the reasons for them."""
    probe = clip.probe
    filters, remarks = [], []
    if probe.field_order in _INTERLACED:
        filters.append("bwdif=mode=send_frame")
        remarks.append("it is interlaced")
    elif any("frame rate varies" in problem for problem in source_problems(probe)):
        remarks.append("its frame rate varies")
    if remarks:
        filters.append(f"fps={probe.frame_rate_text}")
    if size != (probe.width, probe.height):
        filters.append(f"scale={size[0]}:{size[1]}:flags=bicubic")
        remarks.append(f"it has {probe.width}x{probe.height} pixels")
    return filters, remarks


def _copy(clip: Clip, programs: Programs, part: tuple[float, int], frames: int, file: Path) -> bool:
    """Copy a part of the clip as often as needed, and return whether that succeeded."""
    start_s, count = part
    once = file.with_name(f"once-{file.name}")
    first = _run(
        programs,
        # The time is that of the packet, which does not begin at 0 in every container.
        ["-seek_timestamp", "1", "-ss", f"{start_s + _SEEK_SLACK_S:.6f}", *_PROTOCOLS],
        clip.file,
        ["-c", "copy", "-frames:v", str(count), "-avoid_negative_ts", "make_zero"],
        once,
    )
    if not first or frames <= clip.probe.frames:
        if first:
            once.replace(file)
        return first
    copies, rest = divmod(frames, count)
    start = clip.packets.times_s.index(start_s)
    total = copies * count + _complete_frames(clip.packets, clip.frame_rate, start, rest)
    looped = _run(
        programs,
        ["-stream_loop", str(copies)],
        once,
        ["-c", "copy", "-frames:v", str(total)],
        file,
    )
    once.unlink()
    return looped


def _convert(
    clip: Clip,
    programs: Programs,
    options: Sequence[str],
    frames: int,
    file: Path,
) -> bool:
    """Decode a part of the clip and store it without loss, and return whether that succeeded."""
    loop = ["-stream_loop", "-1"] if frames > clip.probe.frames else []
    start_s = max((clip.probe.frames - frames) / 2, 0) / clip.frame_rate
    return _run(
        programs,
        [*loop, "-ss", f"{start_s:.3f}", *_PROTOCOLS],
        clip.file,
        ["-frames:v", str(frames), *options],
        file,
    )


def _run(
    programs: Programs, before: list[str], source: Path, options: list[str], file: Path
) -> bool:
    command = [
        str(programs.ffmpeg.path), "-v", "error", "-nostdin", "-y", *before, "-i", str(source),
        "-map", "0:V:0", "-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1",
        *options, str(file),
    ]  # fmt: skip
    try:
        return not _completed(command)
    except subprocess.TimeoutExpired:
        return False


def _completed(command: list[str]) -> int:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_TIMEOUT_S,
        check=False,
    ).returncode


def _usable_frames(programs: Programs, file: Path) -> int:
    """Return the number of frames of an excerpt, or 0 if the agent would not accept it."""
    try:
        probe = probe_video(programs.ffprobe.path, file)
    except UnreadableFileError:
        return 0
    # A key frame need not permit decoding from it on.
    is_intact = not _completed(ffmpeg_command.decode(programs.ffmpeg.path, str(file)))
    return probe.frames if is_intact and not source_problems(probe) else 0
