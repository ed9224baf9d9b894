"""Tests of the confidence intervals of medians, and of the planned numbers of repeats."""

import random
import statistics
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product

import pytest
from ffrtmp_master.runs.confidence_interval import (
    choose_ranks,
    coverage,
    interval_of_median,
    is_out_of_reach,
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


@pytest.mark.slow
def test_every_plan_of_up_to_100_repeats_covers_the_median_at_its_confidence_level() -> None:
    plans = {plan_looks(first, most) for most in range(6, 101) for first in range(1, most + 1)}
    assert len(plans) > 3000
    assert min(coverage(planned) for planned in plans) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 9, 20, 101, 333, 700, MAX_REPEATS])
def test_plans_of_many_repeats_cover_the_median_at_their_confidence_level(first: int) -> None:
    assert coverage(plan_looks(first, MAX_REPEATS)) >= 0.95


def lognormal(spread: float, chance: random.Random) -> float:
    return chance.lognormvariate(0, spread)


def skewed(spread: float, chance: random.Random) -> float:
    return 1 + chance.expovariate(1 / spread)


def with_outliers(spread: float, chance: random.Random) -> float:
    return chance.lognormvariate(0, spread) * (chance.random() < 0.9 or 1.4)


def two_states(spread: float, chance: random.Random) -> float:
    return chance.lognormvariate(0, spread / 4) * (chance.random() < 0.5 or 1 + 2 * spread)


@pytest.mark.slow
@pytest.mark.parametrize("multiple", [0.5, 1, 1.5, 2, 3, 4])
@pytest.mark.parametrize("noise", [lognormal, skewed, with_outliers, two_states])
def test_the_rule_is_wrong_in_at_most_5_percent_at_every_noise(
    noise: Callable[[float, random.Random], float], multiple: float
) -> None:
    """Simulate the whole loop: a median is wrong if it is called precise and is not covered."""
    target, trials = 0.01, 600
    chance = random.Random(f"looks {multiple}")  # noqa: S311 - not a secret
    median = statistics.median(noise(target * multiple, chance) for _ in range(40_001))
    planned, wrong, covered, early, repeats = plan_looks(3, 30), 0, 0, 0, 0
    for _ in range(trials):
        values: list[float] = []
        while needed := repeats_needed(values, target, planned, most=30 - len(values)):
            values += [noise(target * multiple, chance) for _ in range(needed)]
        assert len(values) in {look.n for look in planned}
        interval = interval_of_median(values, planned)
        assert interval is not None
        is_covered = interval.low <= median <= interval.high
        covered += is_covered
        wrong += is_precise(values, target, planned) and not is_covered
        early += is_out_of_reach(values, target, planned)
        repeats += len(values)
    # The tolerances are three standard errors.
    tolerance = 3 * (0.05 * 0.95 / trials) ** 0.5
    assert wrong / trials < 0.05 + tolerance
    assert covered / trials > 0.95 - tolerance
    if multiple <= 1:
        assert early / trials < 0.1, "a precision within reach is given up"
    if multiple == 4:
        assert early / trials > 0.4
        assert repeats / trials < 24


def test_the_decision_on_the_reach_depends_on_looks_only() -> None:
    planned = looks((8, 1), (12, 2), (30, 9))
    wide = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert not is_out_of_reach(wide[:7], 0.01, planned), "there was no look yet"
    assert is_out_of_reach(wide, 0.01, planned)
    assert is_out_of_reach([*wide, 4.5, 4.5], 0.01, planned), "the next look is at 12"
    assert repeats_needed(wide, 0.01, planned, most=100) == 0
    assert not is_out_of_reach(wide, 0.5, planned)
    assert not is_out_of_reach([1.0] * 6 + [9.0] * 2, 0.01, planned), "two outliers change nothing"
    assert not is_out_of_reach([0.0] * 8, 0.01, planned)
    assert not is_out_of_reach(wide, 0.01, looks((8, 1))), "the last look decides by its interval"
    assert not is_out_of_reach(wide, 0.01, ())


def test_number_of_needed_repeats() -> None:
    planned = looks((8, 1), (12, 3))
    assert repeats_needed([1.0] * 2, 0.01, planned, most=100) == 6
    assert repeats_needed([1.0] * 2, 0.01, planned, most=3) == 3
    assert repeats_needed([1.0] * 8, 0.01, planned, most=100) == 0
    wide = [4.0, 4.0, 4.4, 4.5, 4.5, 4.6, 5.0, 5.0]
    assert repeats_needed(wide, 0.04, planned, most=100) == 4
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
