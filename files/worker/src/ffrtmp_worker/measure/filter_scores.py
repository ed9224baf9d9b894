"""What FFmpeg's own filters ssim and xpsnr leave in their files."""

import math
import re
import statistics
from pathlib import Path

from ffrtmp_shared.measurement import Unavailable

_SSIM = re.compile(r"^n:\d+ .*\bAll:(\d+\.\d+)", re.MULTILINE)
_XPSNR = re.compile(r"^XPSNR average, (\d+) frames +y: (\S+) +u: (\S+) +v: (\S+)", re.MULTILINE)


def ssim_mean(log: Path) -> tuple[float | Unavailable, int]:
    """Return the mean over the frames of SSIM over all planes, and how many frames there were."""
    values = [float(found) for found in _SSIM.findall(log.read_text(encoding="ascii"))]
    if not values:
        return Unavailable(reason="FFmpeg's filter ssim gave no score"), 0
    return statistics.fmean(values), len(values)


def xpsnr_db(log: Path) -> tuple[tuple[float | Unavailable, ...], int]:
    """Return XPSNR of the three planes over the whole clip in dB, and the number of frames.

    Planes without any difference have none: it would be without bound.
    """
    found = _XPSNR.search(log.read_text(encoding="ascii"))
    if found is None:
        return (Unavailable(reason="FFmpeg's filter xpsnr gave no score"),) * 3, 0
    frames, *planes = found.groups()
    return tuple(_bounded(float(plane)) for plane in planes), int(frames)


def _bounded(value_db: float) -> float | Unavailable:
    if math.isinf(value_db):
        return Unavailable(reason="the planes are equal, and XPSNR then has no bound")
    return value_db
