"""systemd timers that would start other work during a benchmark."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from ffrtmp_worker.tuning.state import TuningError

_TIMEOUT_S = 60


class Timers:
    """Control of this host's timers, using the program `systemctl`."""

    def __init__(self, systemctl: Path) -> None:
        self._systemctl = systemctl

    def active(self, names: Iterable[str]) -> dict[str, bool]:
        """Return whether each timer is active; missing and masked timers are left out.

        Raises TuningError if `systemctl` fails.
        """
        found: dict[str, bool] = {}
        for name in names:
            output = self._systemctl_output("show", "--property=LoadState,ActiveState", name)
            state = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
            if state.get("LoadState") == "loaded":
                found[name] = state.get("ActiveState") == "active"
        return found

    def stop(self, name: str) -> None:
        """Stop a timer and mask it until `release` or a reboot. Raises TuningError."""
        self._systemctl_output("stop", name)
        self._systemctl_output("mask", "--runtime", name)

    def release(self, name: str, *, was_active: bool) -> None:
        """Restore the previous state of a timer. Raises TuningError."""
        self._systemctl_output("unmask", "--runtime", name)
        if was_active:
            self._systemctl_output("start", name)

    def _systemctl_output(self, *arguments: str) -> str:
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
