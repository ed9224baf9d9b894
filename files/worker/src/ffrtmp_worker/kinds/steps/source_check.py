"""Diagnosis of a failed attempt: whether its source can be decoded completely."""

from ffrtmp_shared.failure_classes import FailureClass

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import command, process
from ffrtmp_worker.ffmpeg.progress import ProgressParser
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.preparation import deadline_s
from ffrtmp_worker.measure.quality import Clip


def find_source_failure(attempt: Attempt, source: Clip) -> AttemptFailedError | None:
    """Decode the whole source and return an error if it is damaged.

    The result is None if all frames can be decoded, or if the decoder was stopped or killed.
    """
    counter = _FrameCounter()
    decoded = process.run_process(
        command.decode(attempt.tools.farm_ffmpeg, source.name),
        cwd=attempt.folder,
        log=attempt.folder / "decode.log",
        deadline_s=deadline_s(attempt, source.probe),
        stop=attempt.is_stopped,
        on_line=counter.add_line,
    )
    if decoded.stopped_by is not None or decoded.exit_code < 0:
        return None
    if decoded.exit_code:
        return AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE, "the source cannot be decoded", decoded.log_tail
        )
    if counter.frames != source.probe.frames:
        return AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE,
            f"{counter.frames} of the source's {source.probe.frames} frames can be decoded",
            decoded.log_tail,
        )
    return None


class _FrameCounter:
    """Stores the number of frames in FFmpeg's latest report."""

    def __init__(self) -> None:
        self._parser = ProgressParser()
        self.frames = 0

    def add_line(self, line: str, _elapsed_s: float) -> None:
        block = self._parser.feed(line)
        if block is not None and block.frames is not None:
            self.frames = block.frames
