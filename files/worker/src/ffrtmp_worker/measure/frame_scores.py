"""Scores of every frame, from libvmaf's log in CSV.

The log has about 300 bytes per frame. It is read line by line, and only the scores that the result
contains are stored, with 8 bytes each, so that a recording of many hours can be compared.
"""

import math
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ffrtmp_shared.scenario import QualitySettings
from numpy.typing import NDArray

METRICS = ("vmaf", "vmaf_neg", "psnr_y", "psnr_cb", "psnr_cr", "float_ssim")
"""The scores of a frame that are stored: PSNR in dB, and other metrics on their own scales."""

FRAMES_NAME = "frames.csv"
"""Name of the file with the numbers of the compared frames of a stream in the work folder."""

_CHUNK_BYTES = 1 << 20

FrameScores = dict[str, NDArray[np.float64]]
"""The scores of all frames, in their order, by metric."""


class UnreadableScoresError(ValueError):
    """The log does not contain a finite score of each metric for each frame."""


def wanted_metrics(scores: QualitySettings) -> tuple[str, ...]:
    """Return those of `METRICS` that settings request."""
    is_wanted = {"vmaf_neg": scores.neg, "float_ssim": scores.ssim}
    return tuple(
        name
        for name in METRICS
        if (scores.psnr if name.startswith("psnr_") else is_wanted.get(name, True))
    )


def read_scores(log: Path, metrics: Sequence[str] = METRICS) -> FrameScores:
    """Read the scores of every frame from libvmaf's log.

    Raises UnreadableScoresError if a score is missing or is not a finite number.
    """
    columns = [array("d") for _ in metrics]
    with log.open(encoding="ascii", errors="replace") as lines:
        names = _cells(lines.readline())
        missing = [name for name in metrics if name not in names]
        if missing:
            raise UnreadableScoresError(f"libvmaf wrote no {', '.join(missing)}")
        places = [names.index(name) for name in metrics]
        for number, line in enumerate(lines):
            cells = _cells(line)
            if len(cells) != len(names):
                # libvmaf omits a score that it could not compute, which shifts the later cells.
                raise UnreadableScoresError(f"libvmaf did not write all scores of frame {number}")
            for column, place in zip(columns, places, strict=True):
                column.append(_score(cells[place], number))
    return {
        name: np.array(column, dtype=np.float64)
        for name, column in zip(metrics, columns, strict=True)
    }


def compact_log(log: Path) -> bytes:
    """Return libvmaf's log with only the columns that are read again, compressed."""
    packer = zlib.compressobj()
    parts = []
    with log.open(encoding="ascii", errors="replace") as lines:
        places = None
        for line in lines:
            cells = _cells(line)
            if places is None:
                places = [cells.index(name) for name in METRICS if name in cells]
            kept = ",".join(cells[place] for place in places)
            parts.append(packer.compress(f"{kept}\n".encode()))
    return b"".join((*parts, packer.flush()))


def restore_log(content: bytes, log: Path) -> None:
    """Write the log that `compact_log` returned.

    Raises UnreadableScoresError if the content is damaged.
    """
    unpacker = zlib.decompressobj()
    try:
        with log.open("wb") as file:
            rest = content
            while rest:
                file.write(unpacker.decompress(rest, _CHUNK_BYTES))
                rest = unpacker.unconsumed_tail
            file.write(unpacker.flush())
    except zlib.error as error:
        raise UnreadableScoresError(f"the stored scores are damaged: {error}") from error


def _cells(line: str) -> list[str]:
    # libvmaf writes a comma after the last cell too.
    return line.rstrip("\n").removesuffix(",").split(",")


def _score(cell: str, number: int) -> float:
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise UnreadableScoresError(f"libvmaf wrote {cell[:40]!r} as a score of frame {number}")
    return score
