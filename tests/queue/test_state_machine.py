"""Test that random sequences of all requests do not lose or duplicate any job or result."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from .state_machine import MasterMachine

pytestmark = pytest.mark.slow

# The number of sequences. If this variable is not set, every test run has the same few sequences,
# so that a failure is caused by a change of the code. It is set by make test-deep.
_ORDERS = os.environ.get("FFRTMP_TEST_ORDERS")
# How often each event must at least occur in 30 sequences, to prove that the sequences cover it.
# For other numbers of sequences, the minimum is proportional, and is at least one.
_REFERENCE_ORDERS = 30
_MUST_HAPPEN = {
    "claim": 100,
    "claim with another job on the node": 5,
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
    "job retried": 1,
    "run retried": 1,
    "priority changed": 1,
    "node draining": 1,
    "node removed": 1,
    "restart while jobs are held": 5,
}
_FEW_ORDERS = 8


@pytest.mark.property
def test_no_job_is_lost_or_duplicated(new_database: Any, tmp_path: Path) -> None:
    orders = int(_ORDERS) if _ORDERS else _FEW_ORDERS
    chosen = settings(
        max_examples=orders,
        stateful_step_count=90,
        derandomize=not _ORDERS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=True,
        report_multiple_bugs=False,
    )
    event_counts: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: MasterMachine(new_database, tmp_path, event_counts), settings=chosen
    )
    least = {
        event: max(1, count * orders // _REFERENCE_ORDERS) for event, count in _MUST_HAPPEN.items()
    }
    rare = {event: event_counts[event] for event in least if event_counts[event] < least[event]}
    assert not rare, f"some events are too rare: {rare} of {dict(event_counts)}"
