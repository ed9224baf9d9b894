"""Frame rates and bit rates of an encode between reports, and percentiles of frame rates."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.ffmpeg.progress import ProgressReport

_PERCENT = 100
_LEAST_INTERVAL_S = 0.001

_LEAST_WRITTEN_S = 1.0
"""Minimum duration of the video over which a bit rate is computed, in seconds.

In a shorter part, a key frame would dominate.
"""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Current rates of an encode; `bitrate_bps` is in bits per second of video, if known."""

    fps: float
    bitrate_bps: float | None


class RateMeter:
    """A meter of the current rates of a process, updated with each of its reports."""

    def __init__(self) -> None:
        self._before = ProgressReport(0.0, 0)
        self._written: tuple[int, float] | None = None
        self._bitrate_bps: float | None = None

    def update(self, report: ProgressReport) -> Rates:
        """Return the rates of the interval that `report` ends.

        The bit rate covers at least a second of video. Because muxers write in blocks, it remains
        unchanged until the output has grown again.
        """
        fps = _fps(self._before, report)
        self._before = report
        return Rates(fps=fps, bitrate_bps=self._bitrate(report))

    def _bitrate(self, report: ProgressReport) -> float | None:
        if report.written_bytes is None or report.written_s is None:
            return None
        if self._written is None:
            self._written = report.written_bytes, report.written_s
        added_bytes = report.written_bytes - self._written[0]
        added_s = report.written_s - self._written[1]
        if added_bytes > 0 and added_s >= _LEAST_WRITTEN_S:
            self._bitrate_bps = added_bytes * 8 / added_s
            self._written = report.written_bytes, report.written_s
        return self._bitrate_bps


def rates_fps(reports: Iterable[ProgressReport]) -> list[float]:
    """Return the frames per second of each interval between two reports.

    The interval before the last report is excluded, because the end of the encode cuts it short.
    """
    return [_fps(sooner, later) for sooner, later in pairwise(reports) if not later.is_last]


def _fps(sooner: ProgressReport, later: ProgressReport) -> float:
    elapsed_s = max(later.elapsed_s - sooner.elapsed_s, _LEAST_INTERVAL_S)
    return (later.frames - sooner.frames) / elapsed_s


def low_fps(rates_fps: Sequence[float], percent: int) -> float | Unavailable:
    """Return the percentile `percent` of the rates of intervals, with linear interpolation."""
    if len(rates_fps) * percent < _PERCENT:
        return Unavailable(
            reason=f"{len(rates_fps)} intervals between reports are too few for {percent} % of them"
        )
    return float(np.percentile(rates_fps, percent))
