"""Master processes that start quickly and have an interface like that of `subprocess.Popen`."""

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

_FORK_SERVER = Path(__file__).with_name("master_fork_server.py")
_lock = threading.Lock()
_running: list[subprocess.Popen[str]] = []


class Master:
    """A master in a process that is forked from one that has already imported the libraries."""

    def __init__(
        self, arguments: Sequence[str | Path], log: Path, output: Path | None = None
    ) -> None:
        """Start `ffrtmp-master`.

        Args:
            arguments: The command line arguments of the program.
            log: The file to which standard error is appended.
            output: The file to which standard output is appended. The default is `log`.
        """
        words = [str(argument) for argument in arguments]
        files = {"output": str(log if output is None else output), "errors": str(log)}
        self.pid = _call_fork_server({"arguments": words, **files})
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return the exit code, or None if the process still runs; a signal's number is negated."""
        return self._code_within(0)

    def wait(self, timeout: float) -> int:
        """Wait for the end of the process and return the exit code.

        Raises:
            subprocess.TimeoutExpired: The process still runs after the timeout.
        """
        code = self._code_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("ffrtmp-master", timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.returncode is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def terminate(self) -> None:
        """Ask the process to end by sending SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _code_within(self, timeout_s: float) -> int | None:
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._descriptor, select.POLLIN)
            if ended.poll(timeout_s * 1000):
                self.returncode = _call_fork_server({"wait": self.pid})
                os.close(self._descriptor)
        return self.returncode


def _call_fork_server(request: dict[str, Any]) -> int:
    """Send a request to the fork server and return its answer."""
    with _lock:
        if not _running:
            _running.append(
                subprocess.Popen(
                    [sys.executable, str(_FORK_SERVER)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            atexit.register(_stop)
        (server,) = _running
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline())


def _stop() -> None:
    server = _running.pop()
    server.communicate()
