"""Tests of the usual range of a node's speeds, with simulated histories."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from ffrtmp_analysis.speed_range import (
    MAX_HISTORY,
    MIN_HALF_WIDTH,
    MIN_HISTORY,
    Side,
    confirms,
    usual_range,
)

Noise = Callable[[random.Random], float]


def normal(rng: random.Random) -> float:
    return rng.gauss(0, 1)


def with_outliers(rng: random.Random) -> float:
    """Return a deviation that is four times as large in one case of ten."""
    return rng.gauss(0, 4 if rng.random() < 0.1 else 1)


def speeds_of(rng: random.Random, count: int, noise: Noise = normal) -> list[float]:
    """Return speeds around 2 whose logarithms have a standard deviation of 3 %."""
    return [2 * math.exp(0.03 * noise(rng)) for _ in range(count)]


@pytest.mark.parametrize("n", [*range(MIN_HISTORY, MAX_HISTORY + 1)])
def test_the_range_contains_99_of_100_next_speeds(n: int) -> None:
    rng, tries = random.Random(n), 4000  # noqa: S311 - not a secret
    outside = 0
    for _ in range(tries):
        *history, following = speeds_of(rng, n + 1)
        found = usual_range(history)
        assert found is not None
        assert found.n == n
        outside += found.side_of(following) is not Side.INSIDE
    # Three standard errors of a share of 1 % in 4,000 tries are 0.47 %.
    assert outside / tries == pytest.approx(0.01, abs=0.0047)


def test_a_short_history_has_no_range() -> None:
    speeds = speeds_of(random.Random(1), MIN_HISTORY)  # noqa: S311 - not a secret
    assert usual_range(speeds) is not None
    assert usual_range(speeds[1:]) is None
    assert usual_range([0.0, *speeds[1:]]) is None


def test_a_quiet_node_has_a_range_of_two_percent() -> None:
    found = usual_range([2.0] * MIN_HISTORY)
    assert found is not None
    assert found.center == pytest.approx(2.0)
    assert math.log(found.high / 2) == pytest.approx(MIN_HALF_WIDTH)
    assert math.log(2 / found.low) == pytest.approx(MIN_HALF_WIDTH)
    assert found.side_of(2.05) is Side.ABOVE
    assert found.side_of(1.95) is Side.BELOW
    assert found.side_of(1.99) is Side.INSIDE


def test_outliers_in_the_history_do_not_hide_a_change() -> None:
    speeds = speeds_of(random.Random(2), 12)  # noqa: S311 - not a secret
    clean = usual_range(speeds)
    disturbed = usual_range([*speeds[:3], 0.5, 0.6, *speeds[3:], 0.4])
    assert clean is not None
    assert disturbed is not None
    assert disturbed.side_of(2 / 1.25) is clean.side_of(2 / 1.25) is Side.BELOW
    # With the mean and the standard deviation, the same outliers hide even half of the speed.


def test_a_lasting_change_becomes_usual_after_more_than_half_of_the_history() -> None:
    rng = random.Random(3)  # noqa: S311 - not a secret
    history = speeds_of(rng, MAX_HISTORY)
    sides = []
    for speed in speeds_of(rng, MAX_HISTORY):
        found = usual_range(history)
        assert found is not None
        sides.append(found.side_of(speed / 1.5))
        history.append(speed / 1.5)
    assert set(sides[:10]) == {Side.BELOW}
    assert set(sides[11:]) == {Side.INSIDE}


@pytest.mark.parametrize(
    ("previous", "side", "expected"),
    [
        (Side.BELOW, Side.BELOW, True),
        (Side.ABOVE, Side.ABOVE, True),
        (Side.ABOVE, Side.BELOW, False),
        (Side.INSIDE, Side.BELOW, False),
        (Side.INSIDE, Side.INSIDE, False),
        (None, Side.BELOW, False),
        (None, None, False),
    ],
)
def test_two_speeds_outside_on_the_same_side_confirm_a_change(
    previous: Side | None, side: Side | None, *, expected: bool
) -> None:
    assert confirms(previous, side) is expected


def marked_runs(rng: random.Random, runs: Sequence[float], noise: Noise) -> Iterator[bool]:
    """Yield whether each run marks the node, as the master decides it.

    A run has two control encodes, and a third one if only the second lies outside the range. The
    second and third are slower by the factor in `runs`.
    """
    history: list[float] = []
    for factor in runs:
        found, speeds, sides = usual_range(history), speeds_of(rng, 3, noise), []
        for number, speed in enumerate(speeds):
            if number == 2 and (not sides[1] or sides[0]):
                break
            measured = speed / factor if number else speed
            sides.append(found.side_of(measured) if found else None)
            history.append(measured)
        yield any(confirms(*pair) for pair in pairwise(sides))


@pytest.mark.parametrize("noise", [normal, with_outliers])
def test_equal_runs_mark_no_node(noise: Noise) -> None:
    rng, tries = random.Random(4), 300  # noqa: S311 - not a secret
    marked = sum(any(marked_runs(rng, [1.0] * 10, noise)) for _ in range(tries))
    # In longer simulations, ten runs mark a node in 0.5 % of cases, and in 1.4 % with outliers.
    assert marked / tries < 0.04


def test_a_run_during_which_the_node_becomes_slower_marks_it() -> None:
    rng, tries = random.Random(5), 300  # noqa: S311 - not a secret
    found = [list(marked_runs(rng, [1.0] * 10 + [1.25], normal))[-1] for _ in range(tries)]
    # The noise of 3 % is that of a busy virtual machine; on a quiet host, 15 % suffice.
    assert sum(found) / tries > 0.95
