"""FFmpeg's commands that check whether a source can be repeated, and that copy it for this."""

from fractions import Fraction
from pathlib import Path

from ffrtmp_worker.ffmpeg.arguments import input_guard


def list_repeated(ffmpeg: Path, source: str) -> list[str]:
    """Return the command that lists the packets of a source that is read twice, in framecrc.

    Args:
        ffmpeg: The FFmpeg that repeats the source.
        source: The source.
    """
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error",
        *input_guard(), "-stream_loop", "1", "-i", source,
        "-map", "0:V:0", "-c", "copy", "-f", "framecrc", "-",
    ]  # fmt: skip


def copy_evenly(
    ffmpeg: Path, source: str, output: str, *, container: str, frame_rate: Fraction
) -> list[str]:
    """Return the command that copies a video without changing its packets.

    Each packet of the copy has the duration of a frame, because a last frame that is displayed for
    longer would interrupt the repeated video.

    Args:
        ffmpeg: The FFmpeg to use.
        source: The source.
        output: The file to write.
        container: The name of FFmpeg's muxer.
        frame_rate: The frames per second of the source.
    """
    duration = f"round({frame_rate.denominator}/({frame_rate.numerator}*TB))"
    # By default, the filter would replace the presentation times by those of decoding.
    times = f"setts=pts=PTS:dts=DTS:duration={duration}"
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error", "-y",
        *input_guard(), "-i", source, "-map", "0:V:0", "-map_metadata", "-1",
        "-c", "copy", "-bsf:v", times, "-f", container, output,
    ]  # fmt: skip
