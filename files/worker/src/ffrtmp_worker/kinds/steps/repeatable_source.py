"""File of a source that FFmpeg can repeat without a gap, for the kinds that stream in real time.

The time stamps of a repeated MPEG-TS file, or of a file with an edit list or with a long last
frame, have gaps. FFmpeg would wait in each of them, so that the host would seem to be too slow.
"""

from array import array
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
from ffrtmp_shared.failure_classes import FailureClass
from numpy.typing import NDArray

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import process, repetition
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.preparation import SourceClip, check_space
from ffrtmp_worker.kinds.steps.source_check import find_source_failure

_DEADLINE_S = 600.0
_GAP_SLACK_S = 0.0021
_FRAMES_OF_DRIFT = 0.4
_LEAST_RATE = 5
"""Least frames per second of a stream: with fewer, the lag changes by more from frame to frame than
in a stream that falls behind."""
_COPIES = (("mp4", "repeated.mp4"), ("matroska", "repeated.mkv"))
"""Containers of copies: MP4 has exact time stamps, and Matroska supports every codec."""


def repeatable_name(attempt: Attempt, source: SourceClip, ffmpeg: Path, duration_s: float) -> str:
    """Return the name of the source, or of a copy of its packets if only that can be repeated.

    Args:
        attempt: The attempt.
        source: The source.
        ffmpeg: The FFmpeg that will repeat the file.
        duration_s: The duration of the stream, in seconds.

    Raises:
        AttemptFailedError: Neither the source nor a copy can be repeated, or the attempt is to
            stop.
    """
    if not source.probe.begins_with_key:
        raise AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE,
            "the source cannot be decoded from its begin: its first frame is not a key frame",
        )
    rate = source.probe.frame_rate
    if rate < _LEAST_RATE:
        raise AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE,
            f"the source has {float(rate):g} frames a second; a stream needs at least "
            f"{_LEAST_RATE}, because its lag is measured in frames",
        )
    problem = _problem(attempt, source, ffmpeg, source.name, duration_s)
    if not problem:
        return source.name
    check_space(attempt)
    for container, name in _COPIES:
        copy = msgspec.structs.replace(source, name=name)
        if (
            _copied(attempt, source, container, name)
            and not _problem(attempt, source, ffmpeg, name, duration_s)
            and find_source_failure(attempt, copy) is None
        ):
            return name
        (attempt.folder / name).unlink(missing_ok=True)
    raise AttemptFailedError(
        FailureClass.SOURCE_UNREADABLE, f"the source cannot be repeated without a gap: {problem}"
    )


def _copied(attempt: Attempt, source: SourceClip, container: str, name: str) -> bool:
    outcome = process.run_process(
        repetition.copy_evenly(
            attempt.tools.farm_ffmpeg,
            source.name,
            name,
            container=container,
            frame_rate=source.probe.frame_rate,
        ),
        cwd=attempt.folder,
        log=attempt.folder / "copy.log",
        deadline_s=_DEADLINE_S,
        stop=attempt.is_stopped,
    )
    attempt.check_stop()
    return outcome.stopped_by is None and not outcome.exit_code


def _problem(
    attempt: Attempt, source: SourceClip, ffmpeg: Path, name: str, duration_s: float
) -> str:
    """Return what is wrong with the time stamps of the repeated file, or ""."""
    packets = _TimeList()
    outcome = process.run_process(
        repetition.list_repeated(ffmpeg, name),
        cwd=attempt.folder,
        log=attempt.folder / "repetition.log",
        deadline_s=_DEADLINE_S,
        stop=attempt.is_stopped,
        on_line=packets.add_line,
    )
    attempt.check_stop()
    if outcome.stopped_by is not None or outcome.exit_code:
        last = " ".join(outcome.log_tail.splitlines()[-1:])
        return f"FFmpeg cannot read it twice: {last}"
    frames = source.probe.frames
    if len(packets.times) != 2 * frames:
        return (
            f"{frames} of its frames are displayed, but it has {len(packets.times)} instead of "
            f"{2 * frames} frames when it is read twice"
        )
    times_s = np.sort(np.array(packets.times)) * float(packets.unit_s)
    return _time_problem(times_s, float(source.probe.frame_rate), duration_s)


def _time_problem(times_s: NDArray[np.float64], frame_rate: float, duration_s: float) -> str:
    """Return what is wrong with the times of a file that is read twice, or ""."""
    frame_s, gaps_s = 1 / frame_rate, np.diff(times_s)
    worst_s = float(gaps_s[np.argmax(np.abs(gaps_s - frame_s))])
    if abs(worst_s - frame_s) > _GAP_SLACK_S:
        return f"two frames are {worst_s:.3f} s apart instead of {frame_s:.3f} s"
    frames = len(times_s) // 2
    period_s = float(times_s[frames] - times_s[0])
    # Time stamps in milliseconds shorten each repetition. In the end, two frames would coincide.
    drift_s = abs(period_s - frames * frame_s) * duration_s / period_s
    if drift_s > _FRAMES_OF_DRIFT * frame_s:
        return f"a repetition lasts {period_s:.4f} s instead of {frames * frame_s:.4f} s"
    return ""


class _TimeList:
    """The presentation times of a list in framecrc, in units of `unit_s` seconds."""

    def __init__(self) -> None:
        self.times = array("q")
        self.unit_s = Fraction(1)

    def add_line(self, line: str, _elapsed_s: float) -> None:
        if line.startswith("#tb"):
            self.unit_s = Fraction(line.partition(":")[2].strip())
        elif line and not line.startswith("#"):
            self.times.append(int(line.split(",")[2]))
