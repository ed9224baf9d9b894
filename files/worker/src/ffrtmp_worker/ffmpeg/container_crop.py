"""Option of FFmpeg with which the frames of a source are used as they are stored.

Since release 7.1, FFmpeg also crops as the container requests (clean aperture of MOV, crop of
Matroska). Older releases and their ffprobe do not, so that the sizes would differ.
"""

import tempfile
from functools import lru_cache
from pathlib import Path

from ffrtmp_worker.ffmpeg import process

_OPTION = "-apply_cropping[:<stream_spec>]"
"""Help of the option. Older releases have an option of the same name for decoders alone."""

_TIMEOUT_S = 30.0


def stored_frames(ffmpeg: Path) -> tuple[str, ...]:
    """Return the options of an input that prevent cropping by its container.

    Cropping that the codec requests, such as that of 1088 to 1080 lines, remains.

    Args:
        ffmpeg: The FFmpeg that reads the input.
    """
    try:
        state = ffmpeg.stat()
    except OSError:
        return ()
    is_cropping = _is_cropping(str(ffmpeg.absolute()), state.st_mtime_ns, state.st_size)
    return ("-apply_cropping", "codec") if is_cropping else ()


@lru_cache(maxsize=64)
def _is_cropping(ffmpeg: str, _changed_ns: int, _size_bytes: int) -> bool:
    found: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="ffrtmp-options-") as folder:
            process.run_process(
                [ffmpeg, "-hide_banner", "-h", "long"],
                cwd=Path(folder),
                log=Path(folder) / "options.log",
                deadline_s=_TIMEOUT_S,
                stop=lambda: False,
                on_line=lambda line, _: found.append(line) if line.startswith(_OPTION) else None,
            )
    except OSError:
        return False
    return bool(found)
