"""systemd's timers that would begin work of their own in the middle of a benchmark."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from ffrtmp_worker.tuning.state import TuningError

_TIMEOUT_S = 60


class Timers:
    """The timers of this host, through the program `systemctl`."""

    def __init__(self, systemctl: Path) -> None:
        self._systemctl = systemctl

    def active(self, names: Iterable[str]) -> dict[str, bool]:
        """Say of each timer whether it runs; those that are not there or masked are left out.

        Raises TuningError.
        """
        found: dict[str, bool] = {}
        for name in names:
            said = self._do("show", "--property=LoadState,ActiveState", name)
            state = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
            if state.get("LoadState") == "loaded":
                found[name] = state.get("ActiveState") == "active"
        return found

    def stop(self, name: str) -> None:
        """Stop a timer, and let nothing start it until `let_go` or a reboot; raises TuningError."""
        self._do("stop", name)
        self._do("mask", "--runtime", name)

    def release(self, name: str, *, was_active: bool) -> None:
        """Put a timer back as it was; raises TuningError."""
        self._do("unmask", "--runtime", name)
        if was_active:
            self._do("start", name)

    def _do(self, *arguments: str) -> str:
        command = [str(self._systemctl), "--no-ask-password", *arguments]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TuningError(f"{' '.join(command)}: {error}") from error
        if done.returncode != 0:
            raise TuningError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout
