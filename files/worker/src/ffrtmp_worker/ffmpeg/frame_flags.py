"""Properties of a video that only its decoded frames have: fields, and film grain.

A container can state that pictures are progressive although each of them is a field, as with HEVC
in MPEG-TS. No container states whether the decoder adds film grain.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from ffrtmp_worker.ffmpeg import process
from ffrtmp_worker.ffmpeg.arguments import input_guard

_FRAMES = 8
_DEADLINE_S = 60.0
_FILM_GRAIN = "film grain"


class FrameFlags(msgspec.Struct, frozen=True, kw_only=True):
    """Properties that at least one of the first frames has; the decoder adds the film grain."""

    is_interlaced: bool = False
    has_film_grain: bool = False


def read_frame_flags(
    ffprobe: Path, file: Path, *, stop: Callable[[], bool] = lambda: False
) -> FrameFlags:
    """Decode the first frames of a video and return their properties.

    If they cannot be decoded, nothing is set: other checks report the damage.

    Args:
        ffprobe: The ffprobe to use.
        file: The file.
        stop: A function that returns true when the decoder is to stop.

    Raises:
        OSError: ffprobe cannot be started.
    """
    lines: list[str] = []
    argv = [
        str(ffprobe), "-v", "error", *input_guard(), "-select_streams", "V:0",
        "-export_side_data", "film_grain", "-read_intervals", f"%+#{_FRAMES}",
        "-show_entries", "frame=interlaced_frame:frame_side_data=side_data_type",
        "-of", "compact", str(file.absolute()),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ffrtmp-frames-") as folder:
        process.run_process(
            argv,
            cwd=Path(folder),
            log=Path(folder) / "frames.log",
            deadline_s=_DEADLINE_S,
            stop=stop,
            on_line=lambda line, _: lines.append(line) if line.startswith("frame|") else None,
        )
    return FrameFlags(
        is_interlaced=any("interlaced_frame=1" in line for line in lines),
        has_film_grain=any(_FILM_GRAIN in line.lower() for line in lines),
    )
