"""Tests of the usual range of a node's speeds, with simulated histories."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import median

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
def test_the_range_contains_the_next_speed_with_its_probability(n: int) -> None:
    rng, tries = random.Random(n), 4000  # noqa: S311 - not a secret
    outside = 0
    for _ in range(tries):
        *history, following = speeds_of(rng, n + 1)
        found = usual_range(history)
        assert found is not None
        assert found.n == n
        outside += found.side_of(following) is not Side.INSIDE
    # Three standard errors of a share of 0.5 % in 4,000 tries are 0.33 %.
    assert outside / tries == pytest.approx(0.005, abs=0.0033)


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


def marked_runs(
    rng: random.Random, runs: Sequence[float], noise: Noise, common: float
) -> Iterator[bool]:
    """Yield whether each run marks the node, as the master decides it.

    A run has two control encodes, and a third one if only the second lies outside the range. The
    second and third are slower by the factor in `runs`. `common` is the standard deviation between
    runs; that within a run is 3 %, or a tenth of `common` if this is not 0.
    """
    history: list[float] = []
    within = common / 10 if common else 0.03
    for factor in runs:
        found, of_run, speeds, sides = usual_range(history), rng.gauss(0, common), [], []
        for number in range(3):
            if number == 2 and (not sides[1] or sides[0]):
                break
            speed = 2 * math.exp(of_run + within * noise(rng)) / (factor if number else 1)
            speeds.append(speed)
            sides.append(found.side_of(speed) if found else None)
        history.append(median(speeds))
        yield any(confirms(*pair) for pair in pairwise(sides))


@pytest.mark.parametrize("judged_from", [MIN_HISTORY, MAX_HISTORY])
@pytest.mark.parametrize(
    ("noise", "common"), [(normal, 0), (with_outliers, 0), (normal, 0.01), (normal, 0.03)]
)
def test_ten_equal_runs_mark_no_node(noise: Noise, common: float, judged_from: int) -> None:
    rng, tries, runs = random.Random(4), 300, [1.0] * (judged_from + 10)  # noqa: S311
    marked = sum(any([*marked_runs(rng, runs, noise, common)][-10:]) for _ in range(tries))
    # In longer simulations, the share is at most 5 %, with three standard errors of 3.8 %. If each
    # control encode counted in the history, common noise would yield 15 % or more.
    assert marked / tries < 0.088


@pytest.mark.parametrize(("common", "share"), [(0, 0.95), (0.02, 0.85)])
def test_a_run_during_which_the_node_becomes_slower_marks_it(common: float, share: float) -> None:
    # With a noise of 2 %, which is common to a run, a node is 15 % slower; with 3 %, 25 %.
    rng, tries, factor = random.Random(5), 300, 1.15 if common else 1.25  # noqa: S311
    runs = [1.0] * MIN_HISTORY + [factor]
    found = [[*marked_runs(rng, runs, normal, common)][-1] for _ in range(tries)]
    assert sum(found) / tries > share
