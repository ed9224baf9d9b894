"""Signals that end a process group: SIGINT, then SIGTERM, then SIGKILL."""

import os
import signal
import time
from collections.abc import Callable, Sequence

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
STEP_S = 2.0
"""Time that processes have to react to a signal before the next one is sent, in seconds."""


def signal_group(leader_pid: int, number: signal.Signals) -> None:
    """Send a signal to a process group; do nothing if the group has ended."""
    try:
        os.killpg(leader_pid, number)
    except ProcessLookupError:
        return


class SignalEscalation:
    """Sends signals in order, with a pause of `STEP_S` seconds after each."""

    def __init__(
        self, send: Callable[[signal.Signals], None], signals: Sequence[signal.Signals] = SIGNALS
    ) -> None:
        """Create an escalation that sends each of the signals with `send`."""
        self._send = send
        self._signals = signals
        self._sent = 0
        self._next_at_s = 0.0

    def proceed(self) -> bool:
        """Send the signal that is due, if any. After the last step, repeat it at every step.

        Returns:
            Whether to keep waiting: False when the time after the last signal has passed.
        """
        now_s = time.monotonic()
        if now_s >= self._next_at_s:
            self._send(self._signals[min(self._sent, len(self._signals) - 1)])
            self._sent += 1
            self._next_at_s = now_s + STEP_S
        return self._sent <= len(self._signals)
