"""What a running encode says of itself, told to whoever watches."""

from ffrtmp_shared.models import Progress

from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.measure.rates import RateMeter


class ProgressReporter:
    """Turns the reports of one process into the attempt's progress, and into its series."""

    def __init__(self, attempt: Attempt, frame_rate: float) -> None:
        """Tell of an encode whose video has `frame_rate` frames a second."""
        self._attempt = attempt
        self._frame_rate = frame_rate
        self._speedometer = RateMeter()
        ladder = attempt.scenario.ladder
        # Of several outputs FFmpeg tells the size of the first, which is not that of all.
        self._is_size_known = ladder is None or not ladder.together

    def report(self, report: ProgressReport, *, ratio: float, lag_s: float | None = None) -> None:
        """Tell what `report` says; `ratio` is how much is done, `lag_s` how late a stream is."""
        rates = self._speedometer.update(report)
        written_bytes = report.written_bytes if self._is_size_known else None
        self._attempt.series.set_progress(report.frames, written_bytes, lag_s)
        self._attempt.report(
            Progress(
                stage="encode",
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
