"""Progress of a running encode, derived from FFmpeg's reports."""

from ffrtmp_shared.attempt_models import Progress

from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.measure.rates import RateMeter


class ProgressReporter:
    """Converts the reports of a process into the attempt's progress and its series."""

    def __init__(self, attempt: Attempt, frame_rate: float) -> None:
        """Create a reporter for an encode of video with `frame_rate` frames per second."""
        self._attempt = attempt
        self._frame_rate = frame_rate
        self._rate_meter = RateMeter()
        ladder = attempt.scenario.ladder
        # If there are several outputs, FFmpeg reports only the size of the first.
        self._is_size_known = ladder is None or not ladder.together

    def report(self, report: ProgressReport, *, ratio: float, lag_s: float | None = None) -> None:
        """Report the progress of the encode.

        Args:
            report: The latest report of the process.
            ratio: The completed part of the work, from 0 to 1.
            lag_s: The lag of a live stream behind real time, in seconds.
        """
        rates = self._rate_meter.update(report)
        written_bytes = report.written_bytes if self._is_size_known else None
        self._attempt.series.set_progress(report.frames, written_bytes, lag_s)
        self._attempt.report(
            Progress(
                stage=self._attempt.timed_stage,
                frames=report.frames,
                fps=rates.fps,
                speed=rates.fps / self._frame_rate,
                ratio=min(ratio, 1.0),
                bitrate_bps=rates.bitrate_bps if self._is_size_known else None,
                duplicated_frames=report.duplicated,
                dropped_frames=report.dropped,
                lag_s=lag_s,
            )
        )
