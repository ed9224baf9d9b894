"""Parsers of the files that FFmpeg's filters ssim and xpsnr write."""

import math
import re
import statistics
from array import array
from collections.abc import Iterator
from pathlib import Path

from ffrtmp_shared.unavailable import Unavailable

_SSIM = re.compile(r"n:\d+ .*\bAll:(-?\d+\.\d+)")
_XPSNR_FRAME = re.compile(r"n: *\d+ +XPSNR y: (\S+) +XPSNR u: (\S+) +XPSNR v: (\S+)")
_XPSNR = re.compile(r"XPSNR average, (\d+) frames +y: (\S+) +u: (\S+) +v: (\S+)")


def ssim_mean(log: Path) -> tuple[float | Unavailable, int]:
    """Return the mean over all frames of the SSIM of all planes, and the number of frames."""
    # The logs have about 100 bytes per frame, so they are not read as a whole.
    values = array("d", (float(found[1]) for found in _matches(_SSIM, log)))
    if not values:
        return Unavailable(reason="FFmpeg's filter ssim wrote no score"), 0
    return statistics.fmean(values), len(values)


def xpsnr_db(log: Path) -> tuple[tuple[float | Unavailable, ...], int]:
    """Return the XPSNR of the three planes over the whole clip in dB, and the number of frames.

    If a plane is identical in both clips, its XPSNR is infinite and therefore unavailable.
    """
    found = next(_matches(_XPSNR, log), None)
    if found is None:
        return (Unavailable(reason="FFmpeg's filter xpsnr wrote no score"),) * 3, 0
    frames, *planes = found.groups()
    return tuple(_bounded(float(plane)) for plane in planes), int(frames)


def ssim_of_frames(log: Path) -> list[float]:
    """Return the SSIM of all planes of each frame, for a short clip."""
    return [float(found[1]) for found in _matches(_SSIM, log)]


def xpsnr_of_frames_db(log: Path) -> list[tuple[float, ...]]:
    """Return the XPSNR of the three planes of each frame in dB, for a short clip."""
    return [
        tuple(float(plane) for plane in found.groups()) for found in _matches(_XPSNR_FRAME, log)
    ]


def _matches(pattern: re.Pattern[str], log: Path) -> Iterator[re.Match[str]]:
    with log.open(encoding="ascii") as lines:
        for line in lines:
            found = pattern.match(line)
            if found is not None:
                yield found


def _bounded(value_db: float) -> float | Unavailable:
    if math.isinf(value_db):
        return Unavailable(reason="the planes are equal, so that XPSNR is infinite")
    if math.isnan(value_db):
        return Unavailable(reason="FFmpeg's filter xpsnr wrote a score that is not a number")
    return value_db
