"""Anything that can be said to the master, in any order: nothing is lost and nothing doubled."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from .machine import MasterMachine

pytestmark = pytest.mark.slow

# The same orders in every run, so that a change that fails has failed before it lands. Many more,
# and other ones each time, with FFRTMP_TEST_ORDERS, which make test-deep sets.
_ORDERS = os.environ.get("FFRTMP_TEST_ORDERS")
# A test that never gets to the interesting places proves nothing, so they are counted: this often
# in 30 orders, proportionally fewer or more in other numbers of orders, and never less than once.
_COUNTED_ORDERS = 30
_MUST_HAPPEN = {
    "claim": 100,
    "claim beside another job": 5,
    "claim after another attempt": 5,
    "claim without a job": 20,
    "heartbeat": 20,
    "result succeeded": 20,
    "result canceled": 1,
    "result repeated": 2,
    "failure, then queued": 3,
    "failure, then failed": 3,
    "failure, then canceled": 1,
    "too late": 20,
    "attempt expired": 2,
    "job canceled": 10,
    "job done over": 1,
    "run done over": 1,
    "priority changed": 1,
    "node draining": 1,
    "node removed": 1,
    "restart while jobs are held": 5,
}
_FEW_ORDERS = 8


@pytest.mark.property
def test_nothing_is_lost_and_nothing_doubled(new_database: Any, tmp_path: Path) -> None:
    orders = int(_ORDERS) if _ORDERS else _FEW_ORDERS
    chosen = settings(
        max_examples=orders,
        stateful_step_count=60,
        derandomize=not _ORDERS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=True,
        report_multiple_bugs=False,
    )
    seen: Counter[str] = Counter()
    run_state_machine_as_test(lambda: MasterMachine(new_database, tmp_path, seen), settings=chosen)
    least = {
        what: max(1, often * orders // _COUNTED_ORDERS) for what, often in _MUST_HAPPEN.items()
    }
    rare = {what: seen[what] for what in least if seen[what] < least[what]}
    assert not rare, f"the orders have become tame: {rare} of {dict(seen)}"
