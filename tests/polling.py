"""Polling in tests: wait until a condition holds.

The bound of a wait only keeps a defect from hanging the run. A wait ends as soon as its condition
holds, so a generous bound costs nothing, whereas a short one fails on a computer that is busy with
other tests although the product works. A bound that the product promises belongs in an assertion of
the test: measure the time, and compare it.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

TIMEOUT_S = 120.0
"""The bound of a wait. It is much longer than the same wait takes on a busy computer."""

_T = TypeVar("_T")


def wait_until(
    condition: Callable[[], _T | None],
    description: str | Callable[[], str],
    *,
    interval_s: float = 0.05,
    timeout_s: float = TIMEOUT_S,
) -> _T:
    """Wait until a condition holds, and return its value.

    Args:
        condition: A function that returns a true value when the condition holds. Errors that it
            raises end the wait.
        description: The condition in words, which the failure of the test contains, or a function
            that returns the last state.
        interval_s: The pause between two calls of the condition.
        timeout_s: The bound of the wait. Pass another one only if the condition must wait for
            something that may rightly take longer than `TIMEOUT_S`.

    Raises:
        pytest.fail.Exception: The condition did not hold within `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            text = description if isinstance(description, str) else description()
            pytest.fail(f"not within {timeout_s:g} s: {text}")
        time.sleep(interval_s)
    return value
