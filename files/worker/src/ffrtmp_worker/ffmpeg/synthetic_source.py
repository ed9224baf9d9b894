"""Creation of clips with reproducible content, using FFmpeg's own generators.

The clips are lossless video in a QuickTime container, whose time stamps are exact at any frame
rate. A single thread and fixed seeds make the content independent of the host.
"""

from pathlib import Path

from ffrtmp_shared.scenario import SyntheticSource

SUFFIX = ".mov"
"""The file name extension of the clips."""

_GENERATORS = {
    "still": "smptehdbars=size={size}:rate={rate}:duration={duration}",
    "motion": "testsrc2=size={size}:rate={rate}:duration={duration}",
    "noise": "color=gray:size={size}:rate={rate}:duration={duration},"
    "noise=all_seed=1:alls=60:allf=t",
    "animation": "life=size={size}:rate={rate}:seed=1:ratio=0.3:mold=20:stitch=1:"
    "life_color=#f0c040:death_color=#204080:mold_color=#102040,trim=duration={duration}",
}


def synthetic_source(source: SyntheticSource, ffmpeg: Path, output: str) -> list[str]:
    """Return the command that creates a clip.

    Args:
        source: The description of the clip.
        ffmpeg: The FFmpeg to use.
        output: The file to write, relative to the working directory.
    """
    pictures = _GENERATORS[source.content].format(
        size=f"{source.width}x{source.height}",
        rate=source.frame_rate,
        duration=f"{source.duration_s:.6f}",
    )
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-y", "-nostats", "-v", "error",
        "-threads", "1", "-filter_threads", "1",
        "-f", "lavfi", "-i", f"{pictures},format=yuv420p",
        "-fps_mode", "passthrough", "-c:v", "ffv1", "-level", "3", "-g", "1", "-threads", "1",
        "-slices", "4", "-color_range", "tv", "-fflags", "+bitexact", "-flags:v", "+bitexact",
        "-f", "mov", output,
    ]  # fmt: skip
