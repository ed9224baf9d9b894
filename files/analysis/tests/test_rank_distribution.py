"""Tests of the distributions of rank statistics, with published tables of critical values."""

from itertools import product

import pytest
from ffrtmp_analysis.statistics import rank_distribution
from ffrtmp_analysis.statistics.rank_distribution import Tail, mann_whitney_tail, signed_rank_tail


def _critical(tail: Tail) -> int:
    """Return the largest value that a two-sided test at 5 % rejects."""
    value = -1
    while 2 * tail(value + 1) <= 0.05:
        value += 1
    return value


# Conover, Practical Nonparametric Statistics, 3rd edition, tables A7 and A12, and the tables of
# Mann and Whitney (1947) and Wilcoxon (1945).
@pytest.mark.parametrize(
    ("n_a", "n_b", "critical"),
    [(3, 3, -1), (4, 4, 0), (5, 5, 2), (6, 6, 5), (8, 8, 13), (10, 10, 23), (20, 20, 127)],
)
def test_mann_whitney_has_the_published_critical_values(n_a: int, n_b: int, critical: int) -> None:
    assert _critical(mann_whitney_tail(n_a, n_b)) == critical


@pytest.mark.parametrize(
    ("n", "critical"), [(5, -1), (6, 0), (7, 2), (8, 3), (10, 8), (15, 25), (20, 52), (25, 89)]
)
def test_signed_ranks_have_the_published_critical_values(n: int, critical: int) -> None:
    assert _critical(signed_rank_tail(n)) == critical


def test_two_and_three_values_are_counted_by_hand() -> None:
    # Of the ten arrangements, U is 0, 1, 2, 3, 4, 5 and 6 in 1, 1, 2, 2, 2, 1 and 1 of them.
    tail = mann_whitney_tail(2, 3)
    assert [tail(value) for value in range(-1, 8)] == [0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1, 1]


def test_the_signed_ranks_of_five_values_are_those_of_all_signs() -> None:
    totals = [
        sum(rank for rank, sign in enumerate(signs, start=1) if sign)
        for signs in product((False, True), repeat=5)
    ]
    tail = signed_rank_tail(5)
    for value in range(16):
        assert tail(value) == sum(total <= value for total in totals) / 32


def test_the_normal_distribution_is_close_where_it_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = [mann_whitney_tail(50, 50), signed_rank_tail(100)]
    monkeypatch.setattr(rank_distribution, "EXACT_PAIRS_MAX", 0)
    monkeypatch.setattr(rank_distribution, "EXACT_ROUNDS_MAX", 0)
    close = [mann_whitney_tail(50, 50), signed_rank_tail(100)]
    for known, near, most in zip(exact, close, (2500, 5050), strict=True):
        assert max(abs(known(value) - near(value)) for value in range(most)) < 0.001
