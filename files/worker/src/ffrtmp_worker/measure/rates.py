"""How slow an encode was where it was slow."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from ffrtmp_shared.measurement import Unavailable

from ffrtmp_worker.ffmpeg.progress import Report

_PERCENT = 100
_LEAST_INTERVAL_S = 0.001


def rates_fps(reports: Iterable[Report]) -> list[float]:
    """Return the frames per second of each interval between two reports."""
    return [
        (later.frames - sooner.frames) / max(later.elapsed_s - sooner.elapsed_s, _LEAST_INTERVAL_S)
        for sooner, later in pairwise(reports)
    ]


def low_fps(rates_fps: Sequence[float], percent: int) -> float | Unavailable:
    """Return the rate that `percent` of the intervals' rates fall below, between ranks linearly."""
    if len(rates_fps) * percent < _PERCENT:
        return Unavailable(
            reason=f"{len(rates_fps)} intervals between reports are too few for {percent} % of them"
        )
    return float(np.percentile(rates_fps, percent))
