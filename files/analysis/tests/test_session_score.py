"""Tests of the score of a session, with cases that were calculated by hand."""

import math

import pytest
from ffrtmp_analysis.session_score import LinearWeights, SessionChunk, session_score, stall_ratio


def session(*vmaf: float | None, stall_s: tuple[float, ...] = ()) -> list[SessionChunk]:
    """Return a session of complete chunks; there are no stalls after those that are given."""
    stalls = (*stall_s, *(0.0 for _ in vmaf))
    return [SessionChunk(4.0, quality, stall) for quality, stall in zip(vmaf, stalls, strict=False)]


# Each case is calculated by hand from the coefficients 0.8469, 28.7959, 0.2979 and 1.0610.
CASES = {
    # 0.8469 * 100
    "the best session": (session(100, 100, 100), 84.69),
    # 0.8469 * 0
    "the worst picture without stalls": (session(0, 0), 0.0),
    # 0.8469 * 90 = 76.221
    "one chunk": (session(90), 76.221),
    # (0.8469 * 170 + 0.2979 * 10) / 2 = (143.973 + 2.979) / 2
    "a rise": (session(80, 90), 73.476),
    # (0.8469 * 170 - 1.0610 * 10) / 2 = (143.973 - 10.61) / 2
    "a fall": (session(90, 80), 66.6815),
    # (0.8469 * 250 + 0.2979 * 10 - 1.0610 * 10) / 3 = (211.725 + 2.979 - 10.61) / 3
    "a rise and a fall": (session(80, 90, 80), 68.0313333),
    # (0.8469 * 180 - 28.7959 * 1) / 2 = (152.442 - 28.7959) / 2
    "a stall of a second": (session(90, 90, stall_s=(0, 1)), 61.82305),
    # (0.8469 * 180 - 28.7959 * 6) / 2 = (152.442 - 172.7754) / 2
    "long stalls in two chunks": (session(90, 90, stall_s=(2, 4)), -10.1667),
    # (0.8469 * 180 - 28.7959 * 4) / 3 = (152.442 - 115.1836) / 3
    "a chunk that was not received": (session(90, None, 90, stall_s=(0, 4)), 12.4194667),
    # (0.8469 * 160 - 1.0610 * 20 - 28.7959 * 4) / 3 = (135.504 - 21.22 - 115.1836) / 3
    "a fall across such a chunk": (session(90, None, 70, stall_s=(0, 4)), -0.29986667),
    # -28.7959 * 8 / 2
    "nothing was received": (session(None, None, stall_s=(4, 4)), -115.1836),
}


@pytest.mark.parametrize(("chunks", "expected"), CASES.values(), ids=CASES)
def test_the_score_is_that_of_the_hand_calculation(
    chunks: list[SessionChunk], expected: float
) -> None:
    assert session_score(chunks) == pytest.approx(expected, abs=1e-6)


def test_a_session_without_a_complete_chunk_has_no_score() -> None:
    assert session_score([]) is None
    assert session_score([SessionChunk(3.5, 90.0, 0.0)]) is None


def test_only_the_last_chunk_may_be_incomplete() -> None:
    whole = session(90, 80)
    assert session_score([*whole, SessionChunk(1.0, 10.0, 1.0)]) == session_score(whole)
    # At 29.97 frames per second, a complete chunk has 119 or 120 frames.
    assert session_score([*whole, SessionChunk(3.97, 80.0, 0.0)]) == pytest.approx(
        (0.8469 * 250 - 1.0610 * 10) / 3
    )


def test_other_weights_can_be_used() -> None:
    weights = LinearWeights(quality=1.0, stall=10.0, rise=2.0, fall=3.0)
    # (10 + 30 + 20 + 2 * 20 - 3 * 10 - 10 * 0.5) / 3
    chunks = session(10, 30, 20, stall_s=(0.5,))
    assert session_score(chunks, weights) == pytest.approx(65 / 3)


@pytest.mark.parametrize(
    "chunk",
    [
        SessionChunk(4.0, -0.1, 0.0),
        SessionChunk(4.0, 100.1, 0.0),
        SessionChunk(4.0, math.nan, 0.0),
        SessionChunk(4.0, 90.0, -1.0),
        SessionChunk(4.0, 90.0, math.inf),
        SessionChunk(4.0, 90.0, math.nan),
    ],
)
def test_impossible_values_are_refused(chunk: SessionChunk) -> None:
    with pytest.raises(ValueError, match="must"):
        session_score([chunk])


@pytest.mark.parametrize(
    ("stall_s", "duration_s", "expected"),
    [(0.0, 60.0, 0.0), (6.0, 60.0, 0.1), (60.0, 60.0, 1.0), (0.0, 0.0, None)],
)
def test_the_ratio_of_stalls(stall_s: float, duration_s: float, expected: float | None) -> None:
    assert stall_ratio(stall_s, duration_s) == expected
