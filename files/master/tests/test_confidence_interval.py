"""Tests of the confidence intervals of medians, and of the planned numbers of repeats."""

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import pytest
from ffrtmp_master.runs.confidence_interval import (
    choose_ranks,
    coverage,
    interval_of_median,
    is_precise,
    rank_at,
    repeats_needed,
)
from ffrtmp_master.runs.interim_looks import plan_looks
from ffrtmp_shared.precision import Look
from ffrtmp_shared.suite_limits import MAX_REPEATS


def test_the_interval_covers_the_median_at_its_confidence_level() -> None:
    chance = random.Random(7)  # noqa: S311 - not a secret
    covered = 0
    trials = 2000
    for _ in range(trials):
        # The values are log-normal, like durations. Their mean and median differ, so an interval
        # for normal values would be wrong.
        interval = interval_of_median([chance.lognormvariate(0, 0.5) for _ in range(15)])
        assert interval is not None
        covered += interval.low <= 1.0 <= interval.high
    # The coverage is at least 95 % by construction. The tolerance is three standard errors.
    assert covered / trials > 0.95 - 3 * (0.05 * 0.95 / trials) ** 0.5
    assert covered / trials < 0.99


def test_five_values_have_no_interval_and_six_have_their_range() -> None:
    assert interval_of_median([1, 2, 3, 4, 5]) is None
    interval = interval_of_median([6.0, 1.0, 4.0, 2.0, 5.0, 3.0])
    assert interval is not None
    assert (interval.low, interval.median, interval.high) == (1.0, 3.5, 6.0)


def looks(*pairs: tuple[int, int]) -> tuple[Look, ...]:
    return tuple(Look(n=count, rank=rank) for count, rank in pairs)


def exact_coverage(planned: Sequence[Look]) -> Fraction:
    """Return the joint coverage by enumeration of which values are below the median."""
    last = planned[-1].n
    covered = 0
    for below in product((0, 1), repeat=last):
        counts = [(sum(below[: look.n]), look) for look in planned]
        covered += all(look.rank <= count <= look.n - look.rank for count, look in counts)
    return Fraction(covered, 2**last)


@pytest.mark.parametrize(
    "planned",
    [looks((6, 1)), looks((8, 1), (12, 3)), looks((6, 1), (9, 2), (13, 4)), looks((5, 2), (9, 1))],
)
def test_the_joint_coverage_is_exact(planned: tuple[Look, ...]) -> None:
    assert coverage(planned) == pytest.approx(float(exact_coverage(planned)), abs=1e-12)


@pytest.mark.parametrize(
    ("planned", "percent"),
    [
        (looks((8, 1), (15, 4), (30, 9)), 95.16),
        (looks((12, 2), (20, 5), (30, 10)), 95.04),
        (looks((8, 1), (12, 2), (16, 4), (20, 5), (25, 7), (30, 9)), 95.73),
        (looks((8, 1), (12, 2), (18, 4), (27, 8), (40, 13), (60, 21)), 95.38),
    ],
)
def test_ranks_and_coverage_equal_the_published_table(
    planned: tuple[Look, ...], percent: float
) -> None:
    assert choose_ranks([look.n for look in planned]) == planned
    assert round(100 * coverage(planned), 2) == percent


def test_the_looks_are_planned_from_the_numbers_of_repeats() -> None:
    assert plan_looks(3, 30) == looks((8, 1), (12, 2), (18, 5), (30, 9))
    assert plan_looks(3, 6) == looks((6, 1))
    assert plan_looks(10, 12) == looks((10, 2), (12, 3))
    assert plan_looks(12, 12) == looks((12, 3))
    assert plan_looks(3, 5) == ()


@pytest.mark.slow
@pytest.mark.parametrize("max_repeats", [6, 7, 8, 9, 11, 12, 15, 20, 30, 50, 99, MAX_REPEATS])
def test_every_plan_covers_the_median_at_its_confidence_level(max_repeats: int) -> None:
    planned = plan_looks(3, max_repeats)
    assert 0.95 <= coverage(planned) <= coverage(looks((8, 1)))
    assert planned[-1].n == max_repeats
    for count in range(6, max_repeats, max(max_repeats // 20, 1)):
        passed = tuple(look for look in planned if look.n < count)
        rank = rank_at(count, planned)
        if rank and count not in {look.n for look in planned}:
            assert coverage((*passed, Look(n=count, rank=rank))) >= 0.95


@pytest.mark.parametrize("spread", [0.005, 0.01, 0.02, 0.03])
def test_precise_medians_are_wrong_in_at_most_5_percent(spread: float) -> None:
    """Simulate the whole loop: a median is wrong if it is called precise and is not covered."""
    chance = random.Random(f"looks {spread}")  # noqa: S311 - not a secret
    planned, trials, wrong = plan_looks(3, 30), 1500, 0
    for _ in range(trials):
        values: list[float] = []
        while needed := repeats_needed(values, 0.01, planned, most=30 - len(values)):
            values += [chance.lognormvariate(0, spread) for _ in range(needed)]
        assert len(values) in {look.n for look in planned}
        interval = interval_of_median(values, planned)
        assert interval is not None
        is_covered = interval.low <= 1.0 <= interval.high
        wrong += is_precise(values, 0.01, planned) and not is_covered
    # The tolerance is three standard errors.
    assert wrong / trials < 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def test_number_of_needed_repeats() -> None:
    planned = looks((8, 1), (12, 3))
    assert repeats_needed([1.0] * 2, 0.01, planned, most=100) == 6
    assert repeats_needed([1.0] * 2, 0.01, planned, most=3) == 3
    assert repeats_needed([1.0] * 8, 0.01, planned, most=100) == 0
    wide = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert repeats_needed(wide, 0.01, planned, most=100) == 4
    assert repeats_needed(wide, 0.01, planned, most=-3) == 0
    assert repeats_needed(wide + wide, 0.01, planned, most=100) == 0, "there is no further look"
    # Between two looks, even equal values decide nothing.
    assert repeats_needed([*wide, 4.5], 2.0, looks((9, 1), (12, 3)), most=100) == 0
    assert repeats_needed([1.0] * 7, 0.01, planned, most=100) == 1
    # Without a look, the maximum number of repeats is measured.
    assert repeats_needed([1.0], 0.01, (), most=2) == 2
    assert repeats_needed([1.0], 0.01, (), most=-1) == 0
    # A median that was precise at a look needs no more repeats.
    assert repeats_needed([1.0] * 8 + [2.0], 0.01, planned, most=100) == 0
