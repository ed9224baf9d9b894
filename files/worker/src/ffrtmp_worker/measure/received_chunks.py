"""Parts of a received stream, with the scores of their frames and the stalls that a viewer sees."""

from fractions import Fraction

import msgspec
import numpy as np
from ffrtmp_shared.live_measurement import ReceivedChunk, ReceivedMeasurement
from ffrtmp_shared.unavailable import Unavailable
from numpy.typing import NDArray

from ffrtmp_worker.measure.frame_scores import FrameScores

CHUNK_S = 4
"""Duration of a part in seconds, that of the parts for which the session score was published."""

BUFFER_S = 1.0
"""Time for which the viewer's player holds the first frame before it shows it, in seconds.

It covers variations of the transmission that no player shows, and is as long as the time after
which a stream counts as stalled.
"""

_NO_FRAME = Unavailable(reason="no frame of this part was received")
_METRICS = {
    "vmaf_mean": "vmaf",
    "vmaf_neg_mean": "vmaf_neg",
    "psnr_y_mean_db": "psnr_y",
    "ssim_libvmaf_mean": "float_ssim",
}

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


class ReceivedFrames(msgspec.Struct, frozen=True, kw_only=True):
    """The compared frames of a stream, in the order in which they are shown.

    `places` are their numbers among all frames that the encoder read, from 0; they increase.
    `due_s` are their times in the source, and `arrived_s` are their arrival times, in seconds.
    """

    places: Places
    due_s: Numbers
    arrived_s: Numbers
    scores: FrameScores


def measure_chunks(
    frames: ReceivedFrames, frame_rate: Fraction, file_bytes: int
) -> ReceivedMeasurement:
    """Summarize a stream in parts of `CHUNK_S` seconds from the first received frame.

    Args:
        frames: At least one frame.
        frame_rate: The frame rate of the stream.
        file_bytes: The size of the stored stream.
    """
    places, frame_s = frames.places, 1 / float(frame_rate)
    first, last = int(places[0]), int(places[-1])
    # The numbers of the parts are computed in whole numbers, because 4 s need not be whole frames.
    parts = _parts(np.arange(last - first + 1), frame_rate)
    due = np.bincount(parts)
    of_pairs = parts[places - first]
    pairs = np.bincount(of_pairs, minlength=len(due))
    late_s = np.bincount(
        of_pairs, weights=late_times_s(frames.due_s, frames.arrived_s), minlength=len(due)
    )
    stalls_s = (due - pairs) * frame_s + late_s
    sums = {
        field: np.bincount(of_pairs, weights=frames.scores[metric], minlength=len(due))
        for field, metric in _METRICS.items()
    }
    chunks = tuple(
        ReceivedChunk(
            duration_s=int(due[number]) * frame_s,
            frames=int(due[number]),
            pairs=int(pairs[number]),
            stall_s=float(stalls_s[number]),
            **{
                field: float(sums[field][number] / pairs[number]) if pairs[number] else _NO_FRAME
                for field in _METRICS
            },
        )
        for number in range(len(due))
    )
    return ReceivedMeasurement(
        chunk_s=CHUNK_S,
        buffer_s=BUFFER_S,
        frames=len(parts),
        pairs=len(places),
        frames_lost=len(parts) - len(places),
        frames_lost_at_start=first,
        stall_s=float(stalls_s.sum()),
        file_bytes=file_bytes,
        chunks=chunks,
    )


def late_times_s(due_s: Numbers, arrived_s: Numbers) -> Numbers:
    """Return for each frame how much longer the previous frame is shown because it arrives late.

    A player that holds the first frame for `BUFFER_S` shows a frame when it is due, or when it
    arrives. In the latter case all later frames are due later by the same time. The delay of the
    player is therefore the largest delay of all frames so far.
    """
    delays_s = arrived_s - due_s
    delays_s[0] += BUFFER_S
    return np.diff(np.maximum.accumulate(delays_s), prepend=delays_s[0])


def _parts(numbers: Places, frame_rate: Fraction) -> Places:
    """Return the number of the part of each frame, given its number from the first frame."""
    parts: Places = numbers * frame_rate.denominator // (CHUNK_S * frame_rate.numerator)
    return parts
