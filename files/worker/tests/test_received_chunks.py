"""Tests of the parts of a received stream and of the stalls that a viewer sees."""

from fractions import Fraction

import numpy as np
import pytest
from ffrtmp_shared.live_measurement import ReceivedChunk, ReceivedMeasurement
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.measure.received_chunks import (
    BUFFER_S,
    ReceivedFrames,
    late_times_s,
    measure_chunks,
)
from hypothesis import given, settings
from hypothesis import strategies as st

_NTSC = Fraction(30000, 1001)


def _measured(
    places: list[int], rate: Fraction, late_s: dict[int, float] | None = None
) -> ReceivedMeasurement:
    """Measure frames whose VMAF is their number, and which arrive half a second after their time.

    From the frames in `late_s` on, frames arrive later by these times in seconds.
    """
    numbers = np.array(places)
    arrived = numbers / float(rate) + 0.5
    for first, seconds in (late_s or {}).items():
        arrived[numbers >= first] += seconds
    scores = {
        "vmaf": numbers.astype(float),
        "vmaf_neg": numbers - 1.0,
        "psnr_y": np.full(len(places), 40.0),
        "float_ssim": np.full(len(places), 0.5),
    }
    due_s = numbers / float(rate)
    frames = ReceivedFrames(places=numbers, due_s=due_s, arrived_s=arrived, scores=scores)
    return measure_chunks(frames, rate, 1000)


def test_parts_begin_at_the_first_received_frame() -> None:
    found = _measured(list(range(30, 30 + 250)), Fraction(25))
    assert [(chunk.frames, chunk.pairs) for chunk in found.chunks] == [(100, 100)] * 2 + [(50, 50)]
    assert [chunk.duration_s for chunk in found.chunks] == pytest.approx([4.0, 4.0, 2.0])
    assert found.chunks[0] == ReceivedChunk(
        duration_s=4.0,
        frames=100,
        pairs=100,
        stall_s=0.0,
        vmaf_mean=79.5,
        vmaf_neg_mean=78.5,
        psnr_y_mean_db=40.0,
        ssim_libvmaf_mean=0.5,
    )
    assert (found.frames, found.pairs, found.frames_lost) == (250, 250, 0)
    assert (found.frames_lost_at_start, found.stall_s) == (30, 0.0)


def test_the_parts_of_a_fractional_rate_do_not_drift() -> None:
    """119.88 frames are four seconds; after an hour, part 900 begins at the frame of that time."""
    count = round(3700 * _NTSC)
    found = _measured(list(range(count)), _NTSC)
    assert {chunk.frames for chunk in found.chunks[:-1]} == {119, 120}
    before = sum(chunk.frames for chunk in found.chunks[:900])
    assert before == np.ceil(3600 * _NTSC)


def test_a_lost_frame_is_a_still_picture_in_the_part_that_it_belongs_to() -> None:
    kept = [n for n in range(400) if not 90 <= n < 205]
    found = _measured(kept, Fraction(25))
    assert [chunk.pairs for chunk in found.chunks] == [90, 0, 95, 100]
    assert [chunk.stall_s for chunk in found.chunks] == pytest.approx([0.4, 4.0, 0.2, 0.0])
    assert found.frames_lost == 115
    assert found.stall_s == pytest.approx(115 / 25)
    reason = Unavailable(reason="no frame of this part was received")
    empty = found.chunks[1]
    assert (empty.vmaf_mean, empty.psnr_y_mean_db) == (reason, reason)
    assert found.chunks[2].vmaf_mean == pytest.approx(np.mean(range(205, 300)))


def test_late_frames_delay_all_later_ones_once() -> None:
    # The buffer of the player covers the first delay, but not the sum of both.
    found = _measured(list(range(300)), Fraction(25), {50: 0.8, 150: 0.7, 250: -0.9})
    assert [chunk.stall_s for chunk in found.chunks] == pytest.approx([0.0, 0.5, 0.0])


def test_the_buffer_of_the_player_covers_jitter() -> None:
    late = {number: 0.3 if number % 2 else -0.3 for number in range(1, 200)}
    assert _measured(list(range(200)), Fraction(50), late).stall_s == 0.0


def test_a_single_frame_is_a_part() -> None:
    (chunk,) = _measured([7], Fraction(25)).chunks
    assert (chunk.frames, chunk.pairs, chunk.stall_s) == (1, 1, 0.0)


@given(
    st.lists(st.integers(0, 2000), min_size=1, max_size=60, unique=True),
    st.sampled_from([Fraction(25), _NTSC, Fraction(60), Fraction(1)]),
    st.lists(st.floats(0, 5), min_size=60, max_size=60),
)
@settings(max_examples=60)
def test_parts_add_up(places: list[int], rate: Fraction, delays: list[float]) -> None:
    places.sort()
    numbers = np.array(places)
    late = dict(zip(places, np.diff(delays[: len(places)], prepend=0.0), strict=True))
    found = _measured(places, rate, late)
    assert sum(chunk.frames for chunk in found.chunks) == found.frames == np.ptp(numbers) + 1
    assert sum(chunk.pairs for chunk in found.chunks) == found.pairs == len(places)
    assert sum(chunk.duration_s for chunk in found.chunks) == pytest.approx(found.frames / rate)
    # A player that never skips is delayed by the largest delay, unless its buffer covers it.
    delayed_s = max(0.0, max(delays[: len(places)]) - delays[0] - BUFFER_S)
    lost_s = found.frames_lost / float(rate)
    assert found.stall_s == pytest.approx(lost_s + delayed_s, abs=1e-6)
    due_s = numbers / float(rate)
    assert (late_times_s(due_s, due_s + np.array(delays[: len(places)])) >= 0).all()
