"""Choice of the presets and the duration of a first look at a clip."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ffrtmp_cli.local.encoder_speeds import EncoderSpeed

REPEATS = 6
RATE_POINTS = 4

WARM_UP_S = 0.3
"""Warm-up before each encode, in seconds. The encodes are short and follow each other."""

START_S = 10.0
"""Time until the first job, in seconds: the agent tests encoders and quality metrics."""

JOB_OVERHEAD_S = 0.8
"""Time of a job for all steps except warm-up, encode and quality pass, in seconds."""

_BUDGET_S = 165.0
_TOO_LONG_S = 175.0
# Encodes vary, and none may take less than a second: its figures would include the start.
_ENCODE_S = 1.3
_SHORTEST_ENCODE_S = 1.15
_SHORTEST_S = 1.0
_DESIRED_S = 2.0
_LONGEST_S = 60.0
# CPU time of a quality pass relative to that of an encode with x264 medium.
_QUALITY_COST = 2.0
# Mean time of an encode over all rate points relative to that at the fastest one.
_RATE_COST = 1.25


@dataclass(frozen=True)
class FirstLook:
    """The settings of a first look.

    Attributes:
        presets: The preset of each encoder, in the order of the encoders.
        frames: The number of frames to encode.
        expected_s: The expected duration of the run, in seconds.
        idle_s: That on an idle computer.
    """

    presets: tuple[str, ...]
    frames: int
    expected_s: float
    idle_s: float


def plan_first_look(
    speeds: Sequence[EncoderSpeed],
    frame_rate: float,
    cpu_count: int,
    presets: tuple[str, ...] | None = None,
) -> FirstLook:
    """Choose the settings, so that each encode takes over a second and the run under three minutes.

    Args:
        speeds: The measured speeds of the encoders.
        frame_rate: Frames per second of the clip.
        cpu_count: The number of CPUs.
        presets: The preset of each encoder, if they have been chosen.

    Returns:
        The settings. If no settings meet all conditions, they are the best ones.
    """
    candidates = [
        _candidate(speeds, chosen, frame_rate, cpu_count)
        for chosen in (
            [presets] if presets else itertools.product(*(speed.known.costs for speed in speeds))
        )
    ]
    _, best = min(candidates, key=lambda candidate: candidate[0])
    return best


def is_too_slow(plan: FirstLook, frame_rate: float) -> bool:
    """Return whether frames should be smaller, because encodes of a second of video take too long.

    Args:
        plan: The best settings.
        frame_rate: Frames per second of the clip.
    """
    return plan.idle_s > _TOO_LONG_S and plan.frames / frame_rate <= _DESIRED_S


def _candidate(
    speeds: Sequence[EncoderSpeed], presets: tuple[str, ...], frame_rate: float, cpu_count: int
) -> tuple[float, FirstLook]:
    """Return the settings with these presets, after their penalty."""
    walls_s = [
        speed.wall_s * speed.known.costs[preset]
        for speed, preset in zip(speeds, presets, strict=True)
    ]
    frames = math.ceil(min(max(_ENCODE_S / min(walls_s), _SHORTEST_S), _LONGEST_S) * frame_rate)
    duration_s = frames / frame_rate
    quality_s = duration_s * speeds[0].cpu_s * _QUALITY_COST / cpu_count
    idle_s, expected_s = START_S, START_S
    for speed, wall_s in zip(speeds, walls_s, strict=True):
        own_s = RATE_POINTS * (
            REPEATS * (duration_s * wall_s * _RATE_COST + JOB_OVERHEAD_S) + quality_s
        )
        warm_up_s = RATE_POINTS * REPEATS * WARM_UP_S
        idle_s += own_s + warm_up_s
        expected_s += own_s * speed.slowdown + warm_up_s
    steps = sum(
        abs(math.log(speed.known.costs[preset]))
        for speed, preset in zip(speeds, presets, strict=True)
    )
    penalty = (
        2 * steps
        + 2 * (max(walls_s) / min(walls_s) - 1)
        + 5 * max(_DESIRED_S - duration_s, 0)
        + max(idle_s - _BUDGET_S, 0)
        + 100 * max(_SHORTEST_ENCODE_S - duration_s * min(walls_s), 0)
    )
    return penalty, FirstLook(presets, frames, expected_s, idle_s)
