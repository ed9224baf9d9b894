"""Master processes that start at once, each with what `subprocess.Popen` has for it."""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_NURSERY = Path(__file__).with_name("master_nursery.py")
_lock = threading.Lock()
_running: list[subprocess.Popen[str]] = []


class Master:
    """A master in a process of its own."""

    def __init__(
        self, arguments: Sequence[str | Path], log: Path, output: Path | None = None
    ) -> None:
        """Start `ffrtmp-master`.

        Args:
            arguments: What stands after the name of the program.
            log: Where standard error is appended.
            output: Where standard output is appended; to `log` as well if left out.
        """
        words = [str(word) for word in arguments]
        files = {"output": str(log if output is None else output), "errors": str(log)}
        self.pid = _order({"arguments": words, **files})
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the process runs."""
        return self._code_within(0)

    def wait(self, timeout: float) -> int:
        """Return the exit code; raises subprocess.TimeoutExpired."""
        code = self._code_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("ffrtmp-master", timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.returncode is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def _code_within(self, timeout_s: float) -> int | None:
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._descriptor, select.POLLIN)
            if ended.poll(timeout_s * 1000):
                self.returncode = _order({"wait": self.pid})
                os.close(self._descriptor)
        return self.returncode


def _order(order: dict[str, Any]) -> int:
    """Give the nursery an order and return its answer."""
    with _lock:
        if not _running:
            _running.append(
                subprocess.Popen(
                    [sys.executable, str(_NURSERY)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            atexit.register(_stop)
        (nursery,) = _running
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        nursery.stdin.write(json.dumps(order) + "\n")
        nursery.stdin.flush()
        return int(nursery.stdout.readline())


def _stop() -> None:
    nursery = _running.pop()
    nursery.communicate()
