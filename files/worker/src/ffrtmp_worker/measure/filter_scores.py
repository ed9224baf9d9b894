"""Parsers of the files that FFmpeg's filters ssim and xpsnr write."""

import math
import re
import statistics
from pathlib import Path

from ffrtmp_shared.measurement import Unavailable

_SSIM = re.compile(r"^n:\d+ .*\bAll:(\d+\.\d+)", re.MULTILINE)
_XPSNR = re.compile(r"^XPSNR average, (\d+) frames +y: (\S+) +u: (\S+) +v: (\S+)", re.MULTILINE)


def ssim_mean(log: Path) -> tuple[float | Unavailable, int]:
    """Return the mean over all frames of the SSIM of all planes, and the number of frames."""
    values = [float(found) for found in _SSIM.findall(log.read_text(encoding="ascii"))]
    if not values:
        return Unavailable(reason="FFmpeg's filter ssim wrote no score"), 0
    return statistics.fmean(values), len(values)


def xpsnr_db(log: Path) -> tuple[tuple[float | Unavailable, ...], int]:
    """Return the XPSNR of the three planes over the whole clip in dB, and the number of frames.

    If a plane is identical in both clips, its XPSNR is infinite and therefore unavailable.
    """
    found = _XPSNR.search(log.read_text(encoding="ascii"))
    if found is None:
        return (Unavailable(reason="FFmpeg's filter xpsnr wrote no score"),) * 3, 0
    frames, *planes = found.groups()
    return tuple(_bounded(float(plane)) for plane in planes), int(frames)


def _bounded(value_db: float) -> float | Unavailable:
    if math.isinf(value_db):
        return Unavailable(reason="the planes are equal, so that XPSNR is infinite")
    return value_db
