"""Anything that can be said to the master, in any order: nothing is lost and nothing doubled."""

import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from .machine import MasterMachine

# The same orders in every run, so that a change that fails has failed before it lands. Many more,
# and other ones each time: FFRTMP_TEST_ORDERS=2000 python -m pytest tests/queue/test_any_order.py
_ORDERS = os.environ.get("FFRTMP_TEST_ORDERS")
_FEW_ORDERS = {"sqlite": 40, "postgresql": 25}


def test_nothing_is_lost_and_nothing_doubled(
    engine: str, new_database: Any, tmp_path: Path
) -> None:
    chosen = settings(
        max_examples=int(_ORDERS) if _ORDERS else _FEW_ORDERS[engine],
        stateful_step_count=60 if _ORDERS else 40,
        derandomize=not _ORDERS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=True,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(lambda: MasterMachine(new_database, tmp_path), settings=chosen)
