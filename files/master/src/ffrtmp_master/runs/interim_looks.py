"""Looks: the numbers of repeats at which a median may count as precise.

Repeats end at the first look at which the confidence interval is narrow enough. An interval that
covers the median with 95 % at each look alone would be wrong more often than 5 %, because the
repeats tend to end when the interval happens to be narrow. The intervals are therefore so wide
that those of all looks together cover the median with at least 95 %.
"""

from functools import lru_cache
from math import ceil

from ffrtmp_shared.precision import Look
from ffrtmp_shared.suite import Suite

from ffrtmp_master.runs.confidence_interval import choose_ranks
from ffrtmp_master.runs.suite_outline import SuiteOutline

_FIRST = 8
_GROWTH = 1.5
# The last look is at the maximum number of repeats. It replaces a look that would be close to it.
_CLOSE = 1.2


def looks_of(suite: Suite | SuiteOutline) -> tuple[Look, ...]:
    """Return the looks of each scenario of a suite; none if it requests no precision."""
    if suite.precision is None:
        return ()
    return plan_looks(suite.repeats, suite.precision.max_repeats)


@lru_cache(maxsize=256)
def plan_looks(repeats: int, max_repeats: int) -> tuple[Look, ...]:
    """Return the looks of a scenario, which are fixed before its first repeat.

    Args:
        repeats: The number of repeats that are queued first.
        max_repeats: The maximum number of repeats.

    Returns:
        The looks. There are none if `max_repeats` is too low for a confidence interval.
    """
    counts, count = [], max(_FIRST, repeats)
    while count * _CLOSE <= max_repeats:
        counts.append(count)
        count = ceil(count * _GROWTH)
    return choose_ranks((*counts, max_repeats))
