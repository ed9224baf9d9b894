"""Print one line for each change, and messages as plain text."""

from __future__ import annotations

from typing import Any

from ansible import constants
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.utils.fqcn import add_internal_fqcns

DOCUMENTATION = r"""
name: ffrtmp_quiet
type: stdout
short_description: One line for each change, and messages as plain text
description:
  - Tasks that change nothing print nothing. A task that changes a host prints one line.
  - The messages of C(debug) tasks are printed as plain text.
  - Failures and the recap are printed as by the callback C(default).
  - Of a play with the variable C(__only_messages) set to true, only messages and failures are
    printed, without a recap.
  - With C(-v), this callback prints what the callback C(default) prints.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set it as C(stdout_callback) in C(ansible.cfg).
"""

_DEBUG = add_internal_fqcns(("debug",))
_ONLY_MESSAGES = "__only_messages"


class CallbackModule(DefaultCallback):  # type: ignore[misc]
    """The callback `default` without the lines about tasks that change nothing."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "ffrtmp_quiet"

    def __init__(self) -> None:
        super().__init__()
        self._has_only_messages = False
        self._unnamed_play: Any = None

    @property
    def _is_quiet(self) -> bool:
        return int(self._display.verbosity) == 0

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember the play. Its name is printed before its first task, if it has any."""
        self._has_only_messages = bool(play.get_vars().get(_ONLY_MESSAGES, False))
        if not self._is_quiet:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        self._unnamed_play = None if self._has_only_messages else play

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Print nothing, because many plays of a farm without optional hosts have none."""
        if not self._is_quiet:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Print the name of the play before its first task."""
        if self._unnamed_play is not None:
            self._display.display(f"PLAY [{self._unnamed_play.get_name().strip()}]")
            self._unnamed_play = None
        super().v2_playbook_on_task_start(task, is_conditional)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Print the message of a debug task, or one line for a change."""
        if not self._is_quiet:
            super().v2_runner_on_ok(result)
            return
        if isinstance(result.task, TaskInclude):
            return
        self._handle_warnings_and_exception(result)
        is_loop = bool(result.task.loop) and "results" in result.result
        if result.task.action in _DEBUG and not is_loop:
            self._print_message(result)
        elif result.result.get("changed", False) and not self._has_only_messages:
            name = self._last_task_name or result.task.get_name().strip()
            self._display.display(
                f"changed: [{self.host_label(result)}] {name}", color=constants.COLOR_CHANGED
            )

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Print the message of an item of a debug task. Changes have one line for all items."""
        if not self._is_quiet:
            super().v2_runner_item_on_ok(result)
            return
        self._handle_warnings_and_exception(result)
        if result.task.action in _DEBUG:
            self._print_message(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Print nothing about included files."""
        if not self._is_quiet:
            super().v2_playbook_on_include(included_file)

    def v2_runner_retry(self, result: Any) -> None:
        """Print nothing about another attempt, which is not a failure."""
        if not self._is_quiet:
            super().v2_runner_retry(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the recap, unless the last play prints only messages."""
        if not self._has_only_messages or not self._is_quiet:
            super().v2_playbook_on_stats(stats)

    def _print_message(self, result: Any) -> None:
        message = result.result.get("msg")
        if isinstance(message, str):
            self._display.display(message)
        elif isinstance(message, list) and all(isinstance(line, str) for line in message):
            self._display.display("\n".join(message))
        else:
            self._clean_results(result.result, result.task.action)
            self._display.display(self._dump_results(result.result))
