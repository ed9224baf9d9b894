"""Score of the quality of experience of a session: the linear form with published coefficients.

The form is that of Yin et al., A Control-Theoretic Approach for Dynamic Adaptive Video Streaming
over HTTP, SIGCOMM 2015, section 3.1. Quality, changes of quality between consecutive chunks, and
stalls are weighted and added up.

The coefficients are those of Huang et al., Comyco: Quality-Aware Adaptive Video Streaming via
Imitation Learning, MM 2019 (arXiv 1908.02270), which fitted this form to the opinion scores of the
data set SQoE-III, with VMAF as the quality of chunks of four seconds. The constant that one public
implementation subtracts (2.6616) is omitted: it does not change the differences between sessions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

METHOD = "comyco2019"
"""The name of the method, for labels."""

CHUNK_S = 4.0
"""The duration of the chunks for which the coefficients were fitted, in seconds."""

VMAF_MAX = 100.0
"""The highest VMAF score."""

# A complete chunk may be a frame shorter than CHUNK_S.
_COMPLETE_RATIO = 0.9


@dataclass(frozen=True, kw_only=True)
class LinearWeights:
    """The coefficients of the linear form, all positive.

    `quality`, `rise` and `fall` are per VMAF point, and `stall` is per second.
    """

    quality: float
    stall: float
    rise: float
    fall: float


COMYCO_2019 = LinearWeights(quality=0.8469, stall=28.7959, rise=0.2979, fall=1.0610)
"""The coefficients of Comyco (2019)."""


class SessionChunk(NamedTuple):
    """A part of a session, in the order of presentation.

    `vmaf` is the mean VMAF of its received frames, or None if none was received. `stall_s` is the
    time for which the session stalled in this part, in seconds.
    """

    duration_s: float
    vmaf: float | None
    stall_s: float


def session_score(
    chunks: Sequence[SessionChunk], weights: LinearWeights = COMYCO_2019
) -> float | None:
    """Return the score of a session per chunk, so that sessions of any length can be compared.

    The score is (quality * sum(q) + rise * sum(increases of q) - fall * sum(decreases of q)
    - stall * sum(stalls)) / n, where q are the VMAF scores of the n chunks. A session without
    stalls in which all chunks have a VMAF of 100 has the score 84.69. Stalls can make a score
    negative.

    A chunk without a received frame adds nothing to the quality, because nothing was presented, and
    is left out of the changes of quality; its duration is part of the stalls. The last chunk is
    left out if it is not complete, because the coefficients are those of complete chunks.

    The delay before the first picture is not part of the score. For a stream that one encoder
    sends, it is that of the encoder, which is measured separately.

    Args:
        chunks: The session in parts of `CHUNK_S` seconds.
        weights: The coefficients.

    Returns:
        The score, or None if there is no complete chunk.

    Raises:
        ValueError: A VMAF is not from 0 to 100, or a time is negative or not finite.
    """
    for chunk in chunks:
        if chunk.vmaf is not None and not 0 <= chunk.vmaf <= VMAF_MAX:
            raise ValueError(f"the VMAF of a chunk must be from 0 to 100, not {chunk.vmaf}")
        if not (math.isfinite(chunk.stall_s) and chunk.stall_s >= 0):
            raise ValueError(f"a stall must last 0 seconds or longer, not {chunk.stall_s}")
    if chunks and chunks[-1].duration_s < _COMPLETE_RATIO * CHUNK_S:
        chunks = chunks[:-1]
    if not chunks:
        return None
    vmaf = [chunk.vmaf for chunk in chunks if chunk.vmaf is not None]
    changes = [after - before for before, after in pairwise(vmaf)]
    total = (
        weights.quality * math.fsum(vmaf)
        + weights.rise * math.fsum(change for change in changes if change > 0)
        + weights.fall * math.fsum(change for change in changes if change < 0)
        - weights.stall * math.fsum(chunk.stall_s for chunk in chunks)
    )
    return total / len(chunks)


def stall_ratio(stall_s: float, duration_s: float) -> float | None:
    """Return the fraction of a session in which it stalled, or None for an empty session.

    Args:
        stall_s: Time in which the session stalled, in seconds.
        duration_s: Duration of the session, in seconds.
    """
    return stall_s / duration_s if duration_s > 0 else None
