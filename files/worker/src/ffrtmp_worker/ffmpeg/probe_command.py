"""FFmpeg's command that generates the clip with which ffprobe is calibrated."""

from fractions import Fraction
from pathlib import Path


def known_clip(
    ffmpeg: Path, output: str, *, size: tuple[int, int], frames: int, rate: Fraction
) -> list[str]:
    """Return the command that generates a clip, with an encoder that every FFmpeg has.

    Args:
        ffmpeg: The FFmpeg to use.
        output: The file to write.
        size: The width and height of the clip.
        frames: The number of frames.
        rate: The frames per second.
    """
    pictures = f"testsrc=size={size[0]}x{size[1]}:rate={rate.numerator}/{rate.denominator}"
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error", "-y",
        "-f", "lavfi", "-i", pictures, "-frames:v", str(frames),
        "-c:v", "mpeg4", "-f", "mp4", output,
    ]  # fmt: skip
