"""Execute a module again and again until a condition holds, without output for each attempt.

Ansible's `until` prints a line in red for each attempt that does not meet the condition, although
nothing has failed. This action prints nothing while it waits. Its options are:

module: The module to execute. It must not change anything.
options: The options of the module.
condition: An expression as in `when`, in which `result` is the result of the module. A result that
    lacks a value of the expression does not meet the condition.
timeout_s: The time after which the task fails, in seconds.
pause_s: The pause between two attempts, in seconds.
fail_msg: A message that states what was not achieved in time, and what to do about it.

The task returns the last result of the module. It is not changed, and has not failed if the
condition holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible.errors import (
    AnsibleActionFail,
    AnsibleBrokenConditionalError,
    AnsibleUndefinedVariable,
)
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

Json = dict[str, Any]

_OPTIONS: dict[str, Json] = {
    "module": {"type": "str", "required": True},
    "options": {"type": "dict", "default": {}},
    "condition": {"type": "str", "required": True},
    "timeout_s": {"type": "float", "required": True},
    "pause_s": {"type": "float", "default": 1.0},
    "fail_msg": {"type": "str", "required": True},
}
_MESSAGE_MAX_CHARACTERS = 2000


class ActionModule(ActionBase):  # type: ignore[misc]
    """An action that executes another module until its result meets a condition."""

    _supports_check_mode = True
    clock: Callable[[], float] = staticmethod(time.monotonic)
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Return the last result of the module."""
        result: Json = super().run(tmp, task_vars)
        _, wanted = self.validate_argument_spec(argument_spec=_OPTIONS)
        if wanted["timeout_s"] < 0 or wanted["pause_s"] <= 0:
            raise AnsibleActionFail("timeout_s must not be negative, and pause_s must be above 0")
        deadline_s = self.clock() + wanted["timeout_s"]
        while True:
            answer: Json = self._execute_module(
                module_name=wanted["module"], module_args=wanted["options"], task_vars=task_vars
            )
            if answer.get("unreachable"):
                return {**result, **answer}
            if self._is_met(wanted["condition"], answer, task_vars or {}):
                return {**result, **answer, "changed": False, "failed": False}
            if self.clock() >= deadline_s:
                failure = {"failed": True, "msg": _message(wanted, answer)}
                return {**result, **answer, "changed": False, **failure}
            self.sleep(max(0.0, min(wanted["pause_s"], deadline_s - self.clock())))

    def _is_met(self, condition: str, answer: Json, variables: Json) -> bool:
        templar = self._templar.copy_with_new_env(
            available_variables={**variables, "result": answer}
        )
        try:
            return bool(templar.evaluate_conditional(trust_as_template(condition)))
        except AnsibleUndefinedVariable:
            # A failed attempt has no such value.
            return False
        except AnsibleBrokenConditionalError as error:
            raise AnsibleActionFail(f"the condition is not a boolean: {condition}") from error


def _message(wanted: Json, answer: Json) -> str:
    """Return the message of the task, followed by that of the last attempt."""
    last = str(answer.get("msg") or answer.get("stderr") or "").strip()
    text = f"{wanted['fail_msg']} This was not the case after {wanted['timeout_s']:g} s."
    return f"{text} Last attempt: {last}"[:_MESSAGE_MAX_CHARACTERS] if last else text
