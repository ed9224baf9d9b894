"""Tests of the comparison of the packets of a received stream."""

import tracemalloc
from array import array

import numpy as np
import pytest
from ffrtmp_worker.measure.received_packets import (
    PacketDifference,
    arrival_times_s,
    compare_packets,
)
from hypothesis import given
from hypothesis import strategies as st

_PACKETS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=40)


@given(listed=_PACKETS, stored=_PACKETS)
def test_packets_are_compared_as_sets(
    listed: list[tuple[int, int]], stored: list[tuple[int, int]]
) -> None:
    found = compare_packets(
        [time_ms for time_ms, _ in listed],
        [size for _, size in listed],
        [time_ms / 1000 for time_ms, _ in stored],
        [size for _, size in stored],
    )
    more = [time_ms for time_ms, _ in set(stored) - set(listed)]
    assert found == PacketDifference(
        listed=len(set(listed)),
        missing=len(set(listed) - set(stored)),
        more_ms=min(more, default=None),
    )


def test_the_largest_values_of_a_stream_differ() -> None:
    times_ms, sizes = [2**32 - 2, 2**32 - 1], [2**24 - 1, 2**24 - 2]
    stored_s = [time_ms / 1000 for time_ms in times_ms]
    assert compare_packets(times_ms, sizes, stored_s, sizes) == (2, 0, None)
    assert compare_packets(times_ms, sizes, stored_s, sizes[::-1]) == (2, 2, 2**32 - 2)


def test_a_stored_packet_without_a_time_is_the_first_one() -> None:
    assert compare_packets([40], [9], [float("nan"), 0.04], [9, 9]) == (1, 0, 0)


def test_the_last_packet_of_a_frame_states_its_arrival() -> None:
    frames = np.array([4, 2, 3, 2])
    found = arrival_times_s(frames, array("d", [1.0, 2.0, 3.0, 4.0]), np.array([1, 2, 3, 4, 5]))
    assert found == pytest.approx([np.nan, 4.0, 3.0, 1.0, np.nan], nan_ok=True)


def test_the_memory_for_a_packet_is_limited() -> None:
    """A stream of four hours has 864,000 packets at 60 frames per second."""
    packets = 100_000
    times_ms, sizes = array("q", range(packets)), array("q", [1000] * packets)
    stored_s = array("d", [time_ms / 1000 for time_ms in range(packets)])
    tracemalloc.start()
    try:
        compare_packets(times_ms, sizes, stored_s, sizes)
        arrival_times_s(np.array(times_ms), stored_s, np.array(times_ms))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes / packets < 120
