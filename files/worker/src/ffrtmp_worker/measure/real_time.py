"""Pace of a stream compared with real time."""

import statistics
from collections.abc import Sequence

import msgspec

from ffrtmp_worker.ffmpeg.progress import ProgressReport

_SETTLING_RATIO = 0.15
_FEWEST_REPORTS = 8


class RealTimePace(msgspec.Struct, frozen=True, kw_only=True):
    """The pace of a stream compared with real time, excluding its start.

    `speed` is in multiples of real time. `drift_s` is the growth of the lag from the first to the
    last quarter of the reports, and `lag_max_s` is the largest growth at any report.
    """

    speed: float
    drift_s: float
    lag_max_s: float


def measure_pace(reports: Sequence[ProgressReport], frame_rate: float) -> RealTimePace | None:
    """Return the pace of a stream with this frame rate, or None if there are too few reports.

    The lag of a report is the time since the start minus the duration of its frames. An encoder
    delays frames, so the lag is above 0 from the start, and only its growth is significant. The
    first 15 % of the reports are ignored, because encoders fill their queues at the start. The
    median of each quarter is used, because a single report can be late although the stream is not.
    """
    settled = reports[round(len(reports) * _SETTLING_RATIO) :]
    if len(settled) < _FEWEST_REPORTS:
        return None
    lags = [report.elapsed_s - report.frames / frame_rate for report in settled]
    times = [report.elapsed_s for report in settled]
    quarter = len(settled) // 4
    begin_s = statistics.median(lags[:quarter])
    drift_s = statistics.median(lags[-quarter:]) - begin_s
    apart_s = statistics.median(times[-quarter:]) - statistics.median(times[:quarter])
    return RealTimePace(
        speed=max(1.0 - drift_s / apart_s, 0.0), drift_s=drift_s, lag_max_s=max(lags) - begin_s
    )
