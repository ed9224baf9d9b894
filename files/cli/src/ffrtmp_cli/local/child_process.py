"""A master or an agent that runs as a child process and writes its messages to a file."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ffrtmp_cli.errors import CommandError

_TAIL_BYTES = 2000
_KILL_WAIT_S = 10.0


class ChildProcess:
    """A program in its own session, so that Ctrl-C reaches only this command.

    It has to be started by the main thread, because the kernel ends it with the thread that
    started it.
    """

    def __init__(self, program: str, arguments: Sequence[str], log: Path, lock: int) -> None:
        """Prepare a program.

        Args:
            program: `master` or `agent`.
            arguments: The arguments of the program.
            log: The file for its messages. Its directory is the working directory.
            lock: The descriptor of the locked file, which the program keeps locked until it ends.
        """
        self._program = program
        self._arguments = arguments
        self._log = log
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program. Raises OSError if it cannot be started."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                start_new_session=True,
                pass_fds=(self._lock,),
                env=_environment(),
            )

    def run(self) -> None:
        """Run the program until it ends. Raises CommandError if it fails."""
        self.start()
        if self._process is not None and self._process.wait():
            raise self.failure()

    @property
    def is_running(self) -> bool:
        """Return whether the program is running."""
        return self._process is not None and self._process.poll() is None

    def failure(self) -> CommandError:
        """Return an error with the last messages of the program, which has ended."""
        with self._log.open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return CommandError(
            f"the {self._program} of the local farm ended unexpectedly. Results are kept: "
            "run the same command again, without --new. If it ends again, correct what its log "
            f"reports: {self._log}",
            details=tuple(lines[-3:]),
        )

    def end(self, timeout_s: float) -> None:
        """Stop the program, and kill it if it does not end in time.

        Args:
            timeout_s: The time that it has to end, in seconds.
        """
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_KILL_WAIT_S)
        self._process = None

    def _command(self) -> list[str]:
        # Isolated from the working directory, which may contain a package with the same name.
        return [
            sys.executable, "-P", "-m", "ffrtmp_cli.local.child_program", str(os.getpid()),
            self._program, *self._arguments,
        ]  # fmt: skip


def _environment() -> dict[str, str]:
    """Return the environment of the programs, whose output does not depend on the locale."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "LANGUAGE" and not name.startswith("LC_")
    }
    return {**kept, "LC_ALL": "C.UTF-8"}
