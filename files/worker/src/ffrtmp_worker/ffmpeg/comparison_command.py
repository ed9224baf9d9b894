"""FFmpeg's argument lists that compare pictures, to measure quality or to check the metrics."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from ffrtmp_worker.ffmpeg.arguments import input_guard, prelude, stored_stream_guard

VMAF_MODEL = "vmaf_v0.6.1"
"""The VMAF model for frames of up to 1080 lines on a television; it is built into libvmaf."""

VMAF_4K_MODEL = "vmaf_4k_v0.6.1"
"""The VMAF model for frames of 2160 lines, which assumes a shorter viewing distance."""


def compare(
    ffmpeg: Path,
    *,
    distorted: str,
    reference: str,
    graph: str,
    scores: Sequence[str],
    thumbnails: tuple[str, str],
    stored: Sequence[str] = (),
) -> list[str]:
    """Return the command of the quality pass, which compares two files by frame number.

    Args:
        ffmpeg: The FFmpeg to use, with libvmaf.
        distorted: The output of the encode.
        reference: The source.
        graph: The filter graph, with the outputs `scores`, d2 and r2 (thumbnails).
        scores: The outputs of the graph that have scores.
        thumbnails: The files that receive raw gray thumbnails of every frame of `distorted` and of
            `reference`.
        stored: The options of `container_crop.stored_frames` for this FFmpeg.
    """
    return [
        *prelude(ffmpeg), "-xerror",
        *input_guard(), "-noautorotate", "-i", distorted,
        *input_guard(), "-noautorotate", *stored, "-i", reference,
        "-filter_complex", graph,
        *(word for label in scores
          for word in ("-map", label, "-fps_mode", "passthrough", "-f", "null", "-")),
        "-map", "[d2]", "-fps_mode", "passthrough", "-f", "rawvideo", thumbnails[0],
        "-map", "[r2]", "-fps_mode", "passthrough", "-f", "rawvideo", thumbnails[1],
    ]  # fmt: skip


def compare_received(
    ffmpeg: Path,
    *,
    received: str,
    frame_rate: Fraction,
    graph: str,
    thumbnails: tuple[str, str],
    time_stamps: tuple[str, str],
) -> list[str]:
    """Return the command that compares a stored stream with the source from standard input.

    Damaged frames are compared as a player shows them.

    Args:
        ffmpeg: The FFmpeg to use, with libvmaf.
        received: The stored stream.
        frame_rate: The frame rate of the stream, which is the unit of the listed time stamps.
        graph: The filter graph, with the outputs v, s and x (scores), d2 and r2 (thumbnails), and
            d3 and r3 (thumbnails whose time stamps are listed).
        thumbnails: The files that receive raw gray thumbnails of every frame of the stream and of
            the source.
        time_stamps: The files that receive a line with the time stamp of each of these frames.
    """
    passthrough = ["-fps_mode", "passthrough"]
    unit = f"{frame_rate.denominator}:{frame_rate.numerator}"
    return [
        *prelude(ffmpeg), "-copyts", *stored_stream_guard(), "-i", received,
        "-protocol_whitelist", "pipe", "-f", "nut", "-noautorotate", "-i", "pipe:0",
        "-filter_complex", graph,
        *(word for label in ("[v]", "[s]", "[x]")
          for word in ("-map", label, *passthrough, "-f", "null", "-")),
        *(word for label, file in zip(("[d2]", "[r2]"), thumbnails, strict=True)
          for word in ("-map", label, *passthrough, "-f", "rawvideo", file)),
        *(word for label, file in zip(("[d3]", "[r3]"), time_stamps, strict=True)
          for word in ("-map", label, *passthrough, "-enc_time_base", unit,
                       "-f", "framecrc", file)),
    ]  # fmt: skip


def calibrate(ffmpeg: Path, *, size: str, frames: int, graph: str) -> list[str]:
    """Return the command that compares a generated clip with a distorted copy of itself.

    Args:
        ffmpeg: The FFmpeg to use, with libvmaf.
        size: The size of the clip, as WIDTHxHEIGHT.
        frames: The number of frames.
        graph: The filter graph, with the outputs v, s and x (scores).
    """
    return [
        *prelude(ffmpeg), "-xerror",
        "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={frames / 25:g}",
        "-filter_complex", graph,
        *(word for label in ("[v]", "[s]", "[x]")
          for word in ("-map", label, "-fps_mode", "passthrough", "-f", "null", "-")),
    ]  # fmt: skip
