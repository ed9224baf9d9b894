"""Interrupt a play at the start of a task, for tests of interrupted deployments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: interruption
type: aggregate
short_description: Interrupt a play at the start of a task
description:
  - When a task starts whose name begins with C(FFRTMP_TEST_TASK), all processes of the play are
    killed. If C(FFRTMP_TEST_DELAY_S) is set, they are killed so many seconds later, while the task
    runs. If C(FFRTMP_TEST_COMMAND) is set, this command, a JSON list, is run
    instead, and the play continues.
  - The name of the task is written to the file C(FFRTMP_TEST_REPORT).
requirements:
  - The play runs in its own process group.
"""


_CUT_S = 3.0
"""Time in which the command takes effect."""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """A callback that ends the process group of ansible-playbook, as a loss of power would."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "interruption"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_done = False

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        """Interrupt the play at a task."""
        self._interrupt(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Interrupt the play at a handler."""
        self._interrupt(task)

    def _interrupt(self, task: Any) -> None:
        if self._is_done or not task.get_name().startswith(os.environ["FFRTMP_TEST_TASK"]):
            return
        self._is_done = True
        Path(os.environ["FFRTMP_TEST_REPORT"]).write_text(task.get_name())
        command = os.environ.get("FFRTMP_TEST_COMMAND")
        if command:
            # The connection may end before the command has.
            subprocess.run(json.loads(command), check=False, capture_output=True, timeout=60)
            time.sleep(_CUT_S)
            return
        delay_s = float(os.environ.get("FFRTMP_TEST_DELAY_S", "0"))
        if delay_s and os.fork() != 0:
            return
        time.sleep(delay_s)
        os.killpg(os.getpgrp(), signal.SIGKILL)
