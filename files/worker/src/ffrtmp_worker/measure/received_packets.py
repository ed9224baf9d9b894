"""Packets of a received stream: those that the player listed, and those that were stored.

The packets are compared as numbers in arrays, because sets of tuples would need several hundred
bytes for each packet of a stream of hours.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ffrtmp_worker.measure.received_chunks import Numbers, Places

# FLV stores time stamps in milliseconds with 32 bits and sizes with 24 bits.
_SIZE_BITS = 28


class PacketDifference(NamedTuple):
    """Differences between the stored packets and the listed ones.

    Attributes:
        listed: The number of different packets that the player listed.
        missing: The number of those that were not stored.
        more_ms: The lowest time stamp of the stored packets that the player did not list, in
            milliseconds, or None if there are none.
    """

    listed: int
    missing: int
    more_ms: int | None


def compare_packets(
    listed_ms: Sequence[int],
    listed_bytes: Sequence[int],
    stored_s: Sequence[float],
    stored_bytes: Sequence[int],
) -> PacketDifference:
    """Compare packets by their time stamps and sizes.

    Args:
        listed_ms: The time stamps of the listed packets, in milliseconds.
        listed_bytes: The sizes of the listed packets.
        stored_s: The time stamps of the stored packets, in seconds, or NaN.
        stored_bytes: The sizes of the stored packets.
    """
    stored_ms = np.round(np.nan_to_num(np.asarray(stored_s, dtype=np.float64)) * 1000)
    listed = _distinct(np.asarray(listed_ms, dtype=np.int64), listed_bytes)
    stored = _distinct(stored_ms.astype(np.int64), stored_bytes)
    more = np.setdiff1d(stored, listed, assume_unique=True)
    return PacketDifference(
        listed=len(listed),
        missing=len(np.setdiff1d(listed, stored, assume_unique=True)),
        more_ms=int(more.min()) >> _SIZE_BITS if len(more) else None,
    )


def arrival_times_s(frames: Places, elapsed_s: Sequence[float], shown: Places) -> Numbers:
    """Return when frames arrived, in seconds, or NaN for those without a packet.

    Args:
        frames: The frame of each packet, of which there is at least one.
        elapsed_s: The arrival time of each packet, in seconds. That of the last packet of a frame
            counts.
        shown: The frames to find.
    """
    order = np.argsort(frames, kind="stable")
    places = np.searchsorted(frames, shown, side="right", sorter=order) - 1
    found = order[np.maximum(places, 0)]
    times_s: Numbers = np.asarray(elapsed_s, dtype=np.float64)[found]
    times_s[frames[found] != shown] = np.nan
    return times_s


def _distinct(times_ms: Places, sizes_bytes: Sequence[int]) -> Places:
    sizes = np.asarray(sizes_bytes, dtype=np.int64)
    return np.unique((times_ms << _SIZE_BITS) + np.clip(sizes, 0, 2**_SIZE_BITS - 1))
