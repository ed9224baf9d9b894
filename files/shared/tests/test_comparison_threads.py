"""Tests of the number of threads of a comparison."""

import pytest
from ffrtmp_shared.comparison_threads import count_threads


@pytest.mark.parametrize(
    ("configured", "slots", "is_exclusive", "usable", "cpus", "expected"),
    [
        # Without a setting, an exclusive job uses the CPUs of its slot, at most 16.
        (None, 4, True, 8, 8, 8),
        (None, 1, True, 64, 64, 16),
        # The setting is the maximum for an exclusive job.
        (4, 1, True, 64, 64, 4),
        (32, 1, True, 64, 64, 32),
        (32, 1, True, 8, 8, 8),
        # It is the number for other jobs.
        (3, 4, False, 64, 64, 3),
        # Without it, a slot uses its share of the CPUs, within its quota.
        (None, 4, False, 8, 8, 2),
        (None, 8, False, 4, 4, 1),
        (None, 1, False, 64, 64, 16),
        (None, 2, False, 3, 16, 3),
        (None, None, False, 64, 64, 2),
        (None, None, False, 1, 1, 1),
    ],
)
def test_the_number_of_threads(
    *,
    configured: int | None,
    slots: int | None,
    is_exclusive: bool,
    usable: int,
    cpus: int,
    expected: int,
) -> None:
    found = count_threads(
        configured, slots, is_exclusive=is_exclusive, usable_cpus=usable, cpus=cpus
    )
    assert found == expected
