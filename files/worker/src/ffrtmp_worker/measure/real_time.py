"""Whether a stream kept up with the clock."""

import statistics
from collections.abc import Sequence

import msgspec

from ffrtmp_worker.ffmpeg.progress import ProgressReport

_SETTLING_RATIO = 0.15
_FEWEST_REPORTS = 8


class RealTimePace(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream ran against the clock, without its start.

    `speed` is in multiples of real time. `drift_s` is by how much the stream stood further back
    in the last quarter of its reports than in the first, `lag_max_s` by how much at most at any.
    """

    speed: float
    drift_s: float
    lag_max_s: float


def measure_pace(reports: Sequence[ProgressReport], frame_rate: float) -> RealTimePace | None:
    """Judge a stream of `frame_rate` frames a second by its reports; None if they are too few.

    The lag of a report is the time since the start less the time that its frames last. An
    encoder holds frames back, so its lag is not 0 from the start on: what counts is whether it
    grows. The first 15 % of the reports are left out, in which encoders fill their queues. Of
    each quarter the median is taken, because a report can come late without the stream being so.
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
