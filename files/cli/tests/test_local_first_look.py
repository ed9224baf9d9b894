"""Tests of the settings that a first look chooses for a clip and a computer."""

import pytest
from ffrtmp_cli.local.encoder_speeds import KNOWN_ENCODERS, EncoderSpeed
from ffrtmp_cli.local.first_look import RATE_POINTS, REPEATS, is_too_slow, plan_first_look

_X264, _SVTAV1 = KNOWN_ENCODERS[:2]


def _speeds(x264_s: float, svtav1_s: float, slowdown: float = 1.0) -> list[EncoderSpeed]:
    return [
        EncoderSpeed(_X264, x264_s, slowdown, 2 * x264_s),
        EncoderSpeed(_SVTAV1, svtav1_s, slowdown, 2 * svtav1_s),
    ]


@pytest.mark.parametrize(
    ("x264_s", "svtav1_s"),
    [(0.39, 0.43), (0.1, 0.3), (0.05, 0.04), (1.0, 2.0)],
    ids=["720p on two cores", "slow SVT-AV1", "360p", "1080p"],
)
def test_encodes_take_over_a_second_and_the_run_under_three_minutes(
    x264_s: float, svtav1_s: float
) -> None:
    speeds = _speeds(x264_s, svtav1_s)
    plan = plan_first_look(speeds, 25.0, cpu_count=2)
    walls_s = [
        plan.frames / 25 * speed.wall_s * speed.known.costs[preset]
        for speed, preset in zip(speeds, plan.presets, strict=True)
    ]
    assert min(walls_s) > 1.0
    assert plan.expected_s < 180
    assert (RATE_POINTS, REPEATS) == (4, 6)
    assert not is_too_slow(plan, 25.0)


def test_the_first_presets_are_kept_if_they_suit() -> None:
    assert plan_first_look(_speeds(0.39, 0.43), 25.0, cpu_count=2).presets == ("medium", "8")


def test_frames_are_too_large_if_a_second_takes_too_long() -> None:
    speeds = _speeds(20.0, 25.0)
    assert is_too_slow(plan_first_look(speeds, 25.0, cpu_count=2), 25.0)


def test_a_busy_computer_is_expected_to_take_longer_but_gets_the_same_settings() -> None:
    idle = plan_first_look(_speeds(0.39, 0.43), 25.0, cpu_count=2)
    busy = plan_first_look(_speeds(0.39, 0.43, slowdown=3.0), 25.0, cpu_count=2)
    assert (busy.presets, busy.frames) == (idle.presets, idle.frames)
    assert busy.expected_s > 2 * idle.expected_s


def test_each_encoder_has_four_rate_points() -> None:
    assert all(len(known.crfs) == RATE_POINTS for known in KNOWN_ENCODERS)
    # The last one is the fastest, whose speed is measured.
    assert all(tuple(sorted(known.crfs)) == known.crfs for known in KNOWN_ENCODERS)
    every = [crf for known in KNOWN_ENCODERS for crf in known.crfs]
    assert len(set(every)) == len(every)
