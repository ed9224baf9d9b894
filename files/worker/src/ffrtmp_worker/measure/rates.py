"""How fast an encode is from one report to the next, and how slow it was where it was slow."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from ffrtmp_shared.measurement import Unavailable

from ffrtmp_worker.ffmpeg.progress import ProgressReport

_PERCENT = 100
_LEAST_INTERVAL_S = 0.001

_LEAST_WRITTEN_S = 1.0
"""Of less video than this no bit rate is given: a key frame would be all of it."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How fast an encode is just now; `bitrate_bps` is bits for each second of video, or None."""

    fps: float
    bitrate_bps: float | None


class RateMeter:
    """Gives the rates of a running process, from its reports as they come."""

    def __init__(self) -> None:
        self._before = ProgressReport(0.0, 0)
        self._written: tuple[int, float] | None = None
        self._bitrate_bps: float | None = None

    def update(self, report: ProgressReport) -> Rates:
        """Return the rates of the interval that `report` ends.

        The bit rate is that of at least a second of video, and stays as it was until the output
        has grown again: muxers write in blocks.
        """
        fps = _fps(self._before, report)
        self._before = report
        return Rates(fps=fps, bitrate_bps=self._bitrate(report))

    def _bitrate(self, report: ProgressReport) -> float | None:
        if report.written_bytes is None or report.written_s is None:
            return None
        if self._written is None:
            self._written = report.written_bytes, report.written_s
        more_bytes = report.written_bytes - self._written[0]
        more_s = report.written_s - self._written[1]
        if more_bytes > 0 and more_s >= _LEAST_WRITTEN_S:
            self._bitrate_bps = more_bytes * 8 / more_s
            self._written = report.written_bytes, report.written_s
        return self._bitrate_bps


def rates_fps(reports: Iterable[ProgressReport]) -> list[float]:
    """Return the frames per second of each interval between two reports.

    The interval before a last report is not among them: it is cut off wherever the encode ended.
    """
    return [_fps(sooner, later) for sooner, later in pairwise(reports) if not later.is_last]


def _fps(sooner: ProgressReport, later: ProgressReport) -> float:
    elapsed_s = max(later.elapsed_s - sooner.elapsed_s, _LEAST_INTERVAL_S)
    return (later.frames - sooner.frames) / elapsed_s


def low_fps(rates_fps: Sequence[float], percent: int) -> float | Unavailable:
    """Return the rate that `percent` of the intervals' rates fall below, between ranks linearly."""
    if len(rates_fps) * percent < _PERCENT:
        return Unavailable(
            reason=f"{len(rates_fps)} intervals between reports are too few for {percent} % of them"
        )
    return float(np.percentile(rates_fps, percent))
