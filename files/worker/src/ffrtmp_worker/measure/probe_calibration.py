"""Calibration of ffprobe on a clip whose frames, frame rate, duration and size are known.

All speeds and bit rates depend on these values, so that a wrong ffprobe makes every result wrong.
"""

import tempfile
from fractions import Fraction
from pathlib import Path

from ffrtmp_worker.ffmpeg import probe_command, process
from ffrtmp_worker.ffmpeg.probe import UnreadableFileError, VideoProbe, probe_video

_FRAMES = 30
_RATE = Fraction(30000, 1001)
_SIZE = (66, 50)
_DEADLINE_S = 30.0
_SLACK_S = 0.001


class ProbeCalibrationError(Exception):
    """The clip could not be generated, so that nothing is known about ffprobe."""


def find_probe_fault(ffmpeg: Path, ffprobe: Path) -> str:
    """Return what ffprobe reports wrongly about a generated clip, or "" if all values are right.

    Args:
        ffmpeg: The FFmpeg that generates the clip.
        ffprobe: The ffprobe to check.

    Raises:
        ProbeCalibrationError: FFmpeg failed.
        OSError: A program cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="ffrtmp-probe-calibration-") as name:
        folder = Path(name)
        clip = folder / "known.mp4"
        outcome = process.run_process(
            probe_command.known_clip(
                ffmpeg.absolute(), clip.name, size=_SIZE, frames=_FRAMES, rate=_RATE
            ),
            cwd=folder,
            log=folder / "clip.log",
            deadline_s=_DEADLINE_S,
            stop=lambda: False,
        )
        if outcome.stopped_by is not None or outcome.exit_code:
            raise ProbeCalibrationError(" ".join(outcome.log_tail.splitlines()[-1:]))
        try:
            found = probe_video(ffprobe, clip, deadline_s=_DEADLINE_S)
        except UnreadableFileError as error:
            return str(error)
    return _difference(found)


def _difference(found: VideoProbe) -> str:
    """Return the first value that is not that of the generated clip, or ""."""
    duration_s = float(_FRAMES / _RATE)
    is_right = abs(found.duration_s - duration_s) <= _SLACK_S
    values: tuple[tuple[str, object, object], ...] = (
        ("number of frames", found.frames, _FRAMES),
        ("frame rate", found.frame_rate, _RATE),
        ("duration in seconds", found.duration_s, found.duration_s if is_right else duration_s),
        ("size", (found.width, found.height), _SIZE),
        ("damage", found.complaints, ""),
    )
    return next(
        (
            f"the {what} of a clip is {value}, not {right}"
            for what, value, right in values
            if value != right
        ),
        "",
    )
