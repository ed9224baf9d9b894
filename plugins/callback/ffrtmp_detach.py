"""Let the first Ctrl-C end the task ffrtmp_run_wait instead of the play."""

from __future__ import annotations

import multiprocessing
import os
import signal
from types import FrameType
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: ffrtmp_detach
type: aggregate
short_description: Let Ctrl-C end the wait for a run instead of the play
description:
  - While a task C(ffrtmp_run_wait) runs, the first SIGINT is forwarded to the processes that run
    it. These processes end the wait, and the play continues with its C(always) sections.
  - A second SIGINT, or a SIGINT during any other task, has its usual effect.
requirements:
  - Enable it in C(ansible.cfg).
"""

_ACTION = "ffrtmp_run_wait"


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """A callback without output that replaces the main process's SIGINT handler during a wait."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "ffrtmp_detach"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._previous: Any = None

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        """Replace the SIGINT handler if the task is a wait, otherwise restore it."""
        self._restore()
        if task.action == _ACTION:
            self._previous = signal.signal(signal.SIGINT, self._forward)

    def v2_runner_on_ok(self, result: Any) -> None:  # noqa: ARG002
        """Restore Ansible's SIGINT handler after the wait."""
        self._restore()

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002
        """Restore Ansible's SIGINT handler after the wait."""
        self._restore()

    def v2_runner_on_unreachable(self, result: Any) -> None:  # noqa: ARG002
        """Restore Ansible's SIGINT handler after the wait."""
        self._restore()

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _forward(self, signum: int, _frame: FrameType | None) -> None:
        self._restore()
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signum)
