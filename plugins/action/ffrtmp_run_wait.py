"""Wait for the end of a run, and print a line for each change.

The options are the connection options of ffrtmp_run_info (master_url, token, ca_file, client_cert,
client_key, timeout_s) and:

run_id: Id of the run.
known_counts: The last known number of jobs by state.
wait_timeout_s: Maximum time to wait, in seconds.
heartbeat_s: Time in seconds after which a line is printed even if nothing has changed.

The task returns the last result of ffrtmp_run_info and:

detached: Whether the wait was interrupted with Ctrl-C.
timed_out: Whether the run had not ended after wait_timeout_s.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible's setting module_utils applies only to modules, but this plugin runs on the control node.
_MODULE_UTILS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _MODULE_UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_MODULE_UTILS)

from ansible.module_utils.ffrtmp.argument_spec import CONNECTION, module_arguments  # noqa: E402
from ansible.module_utils.ffrtmp.errors import SettingsError  # noqa: E402
from ansible.module_utils.ffrtmp.progress import (  # noqa: E402
    LINE_COLUMNS,
    ProgressMeter,
    activity_key,
    answer_line,
    stages_key,
    waiting,
    waiting_text,
)

Json = dict[str, Any]

POLL_S = 30.0
"""Maximum time for which one call of the module waits for a change, in seconds."""

SHORTEST_PAUSE_S = 1.0
"""Minimum pause between two calls in seconds, which limits the load if a run changes often."""

STAGE_PAUSE_S = 15.0
"""Minimum time between two lines in seconds, if only the stages of jobs have changed."""

LONGEST_PAUSE_S = 30.0
"""Maximum pause before an unavailable host or master is polled again, in seconds."""

_OPTIONS: dict[str, Json] = {
    "run_id": {"type": "str", "required": True},
    "known_counts": {"type": "dict"},
    "wait_timeout_s": {"type": "float", "default": 86400.0},
    "heartbeat_s": {"type": "float", "default": 180.0},
    **CONNECTION,
}
_OWN_OPTIONS = ("known_counts", "wait_timeout_s", "heartbeat_s")


class DetachedError(BaseException):
    """Ctrl-C during the wait. Handlers of Exception must not catch it."""


class AwayError(Exception):
    """No response from the host or the master. A retry may help."""


class ActionModule(ActionBase):  # type: ignore[misc]
    """An action that calls ffrtmp_run_info on the host until the run has ended."""

    clock: Callable[[], float] = staticmethod(time.monotonic)
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Return the last result of the module, with `detached` and `timed_out`."""
        result: Json = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        try:
            arguments = module_arguments(options, _OWN_OPTIONS)
        except SettingsError as error:
            raise AnsibleActionFail(str(error)) from error
        wait = _Wait(
            poll=lambda more: self._poll({**arguments, **more}, task_vars),
            show=Display().display,
            clock=self.clock,
            sleep=self.sleep,
            heartbeat_s=options["heartbeat_s"],
        )
        outcome = {"detached": False, "timed_out": False}
        try:
            with _detachable():
                ended = wait.until_final(options["known_counts"], options["wait_timeout_s"])
                outcome["timed_out"] = not ended
        except DetachedError:
            outcome["detached"] = True
        return {**result, **(wait.answer or {}), **outcome, "changed": False}

    def _poll(self, arguments: Json, task_vars: Json | None) -> Json:
        """Call the module once. Raises AwayError if a retry may help."""
        try:
            answer: Json = self._execute_module(
                module_name="ffrtmp_run_info", module_args=arguments, task_vars=task_vars
            )
        except AnsibleConnectionFailure as error:
            raise AwayError(f"the host cannot be reached: {error}") from error
        if answer.get("unreachable"):
            raise AwayError(f"the host cannot be reached: {answer.get('msg', '')}")
        if answer.get("failed") and answer.get("temporary"):
            raise AwayError(str(answer.get("msg", "")))
        return answer


class _Wait:
    """A wait for the end of one run. Its memory does not grow with the number of calls."""

    def __init__(
        self,
        *,
        poll: Callable[[Json], Json],
        show: Callable[[str], None],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        heartbeat_s: float,
    ) -> None:
        self._poll = poll
        self._show = show
        self._clock = clock
        self._sleep = sleep
        self._heartbeat_s = heartbeat_s
        self._meter = ProgressMeter()
        self._shown_key: tuple[Any, ...] | None = None
        self._shown_stages: tuple[Any, ...] = ()
        self._shown_at_s = clock()
        self.answer: Json | None = None

    def until_final(self, known_counts: Json | None, timeout_s: float) -> bool:
        """Wait until the run has ended, the module has failed permanently, or the time is up.

        Args:
            known_counts: The last known number of jobs by state, if any.
            timeout_s: Maximum time to wait, in seconds.

        Returns:
            False if the timeout has expired, otherwise True.
        """
        deadline_s = self._clock() + timeout_s
        if known_counts is not None:
            self._meter.update({"counts": known_counts}, self._clock())
        pause_s, is_away = SHORTEST_PAUSE_S, False
        # The first call does not wait, so that a line is printed immediately.
        wait_s = 0.0
        while True:
            try:
                answer = self._poll({"wait_change_s": wait_s, "known_counts": known_counts or {}})
            except AwayError as error:
                if not is_away:
                    reason = " ".join(str(error).split())
                    self._print(f"{reason}. The run continues; retrying.")
                is_away = True
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                self._beat("Still no response; retrying.")
            else:
                self.answer = answer
                if answer.get("failed"):
                    return True
                if is_away:
                    self._print("The master responds again.")
                pause_s, is_away = SHORTEST_PAUSE_S, False
                known_counts = answer["run"]["counts"]
                self._report(answer)
                if answer["is_final"]:
                    return True
            if self._clock() >= deadline_s:
                return False
            self._sleep(max(0.0, min(pause_s, deadline_s - self._clock())))
            wait_s = max(0.0, min(POLL_S, self._heartbeat_s, deadline_s - self._clock()))

    def _report(self, answer: Json) -> None:
        now_s = self._clock()
        progress = self._meter.update(answer["run"], now_s)
        line, key, stages = answer_line(progress, answer), activity_key(answer), stages_key(answer)
        is_other_stage = stages != self._shown_stages
        if key != self._shown_key or (is_other_stage and self._silent_s() >= STAGE_PAUSE_S):
            if self._shown_key is None or key[-1] != self._shown_key[-1]:
                self._explain(answer["run"], line)
            self._print(line)
            self._shown_key, self._shown_stages = key, stages
        else:
            self._beat(line)

    def _explain(self, run: Json, line: str) -> None:
        """Print the reasons for which jobs are blocked, if the progress line has no room."""
        for text in map(waiting_text, waiting(run, is_idle=False)):
            if text not in line:
                self._show(text)

    def _silent_s(self) -> float:
        """Return the time since the last line, in seconds."""
        return self._clock() - self._shown_at_s

    def _beat(self, line: str) -> None:
        """Print the line if no line was printed for `heartbeat_s`."""
        if self._silent_s() >= self._heartbeat_s:
            self._print(line)

    def _print(self, line: str) -> None:
        self._show(line if len(line) <= LINE_COLUMNS else line[: LINE_COLUMNS - 3] + "...")
        self._shown_at_s = self._clock()


@contextmanager
def _detachable() -> Iterator[None]:
    """Raise DetachedError on the first SIGINT in the block.

    The previous handler then handles further signals. The callback plugin ffrtmp_detach forwards
    the first SIGINT to this process.
    """
    previous = signal.getsignal(signal.SIGINT)

    def detach(_signum: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, previous)
        _end_process_group()
        raise DetachedError

    signal.signal(signal.SIGINT, detach)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _end_process_group() -> None:
    """Terminate the module's process or its SSH client, which would outlive this process.

    Ansible runs this plugin in a process that leads a separate process group. The other members of
    the group are its child processes.
    """
    if os.getpgrp() != os.getpid():
        return
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgrp(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, previous)
