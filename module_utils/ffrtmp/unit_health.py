"""Waits until units respond and keep running, and explains why a unit does not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.ffrtmp.readiness import reason_not_ready
from ansible.module_utils.ffrtmp.units import Run, UnitState, read_states

_PAUSE_S = 0.3
_CRASHES_MAX = 5
"""Number of automatic restarts after which a unit is not waited for any longer."""

_RESTARTED_FACTOR = 6
"""A unit that systemd restarted must run this many times longer before it counts as steady."""

_LOG_LINES = 15


def wait_until_up(
    run: Run, declarations: Mapping[str, Mapping[str, Any]], steady_s: float, *, check_ready: bool
) -> dict[str, str]:
    """Wait until units respond, and have run for a while without being restarted.

    A unit that runs is waited for until it has run for long enough, even after its timeout:
    whether it keeps running is not known earlier.

    Args:
        run: Function that runs a command.
        declarations: Entries of the option C(units) of the module current_units, by unit.
        steady_s: Time for which a unit must have run, in seconds.
        check_ready: Whether the units must also respond.

    Returns:
        The reasons why units are not up, by unit. It is empty if all units are up.

    Raises:
        OSError: systemd cannot be queried.
    """
    begin_s = time.monotonic()
    pending = dict(declarations)
    failed: dict[str, str] = {}
    # The count includes restarts long before this wait. It is 0 again after a start by an operator.
    before: dict[str, int] = {}
    while pending:
        states = read_states(run, pending)
        for name, state in states.items():
            declaration = pending[name]
            reason = _reason_not_up(declaration, state, steady_s, check_ready=check_ready)
            before[name] = min(before.get(name, state.restarts), state.restarts)
            restarts = state.restarts - before[name]
            waited_s = time.monotonic() - begin_s
            timeout_s = declaration["ready"]["timeout_s"]
            if not reason:
                del pending[name]
            elif is_final(state, restarts) or (
                waited_s > timeout_s and not _is_unsteady(state, steady_s)
            ):
                failed[name] = f"{reason} (waited {waited_s:.0f} of at most {timeout_s} s)"
                del pending[name]
        if pending:
            time.sleep(_PAUSE_S)
    return failed


def is_final(state: UnitState, restarts: int) -> bool:
    """Return whether systemd has given up on a unit, or has restarted it too often.

    Args:
        state: The present state of the unit.
        restarts: Number of automatic restarts since the wait began.
    """
    return state["ActiveState"] == "failed" or restarts >= _CRASHES_MAX


def explanation(run: Run, name: str, reason: str) -> str:
    """Return a message about a unit that is not up: the reason, its last log, and the remedy."""
    command = ["journalctl", "--unit", name, "--lines", str(_LOG_LINES), "--no-pager"]
    _, log, _ = run([*command, "--output=cat"])
    return (
        f"{name} is not up: {reason}. The last lines of its log are:\n{log.rstrip()}\n"
        f"Correct what they name and run the play again. To see more: journalctl -u {name}"
    )


def _reason_not_up(
    declaration: Mapping[str, Any], state: UnitState, steady_s: float, *, check_ready: bool
) -> str:
    times = f", after {state.restarts} automatic restarts" if state.restarts else ""
    if not state.is_active:
        result = f", {state['Result']}" if state["Result"] not in {"", "success"} else ""
        return f"it is {state['ActiveState']} ({state['SubState']}{result}){times}"
    if declaration.get("virtual_environment") and not state.runs_in_its_environment:
        return f"its process does not belong to {state.program}{times}"
    if _is_unsteady(state, steady_s):
        needed_s = _needed_uptime_s(state, steady_s)
        return f"it has run for {state.uptime_s:.1f} s, not yet {needed_s:.0f} s{times}"
    if not check_ready:
        return ""
    reason = reason_not_ready(declaration["ready"], state["StatusText"])
    return f"{reason}{times}" if reason else ""


def _is_unsteady(state: UnitState, steady_s: float) -> bool:
    """Return whether a unit runs, but not yet for long enough."""
    return state.is_active and state.uptime_s < _needed_uptime_s(state, steady_s)


def _needed_uptime_s(state: UnitState, steady_s: float) -> float:
    return steady_s * (_RESTARTED_FACTOR if state.restarts else 1)
