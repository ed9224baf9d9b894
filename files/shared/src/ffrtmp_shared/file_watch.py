"""Detection of files that were changed or replaced, such as renewed certificates."""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_FileState = tuple[int, int, int] | None

_log = logging.getLogger(__name__)

# The loading of the same files is tried again at each check, but its failure is logged less often.
_LOG_INTERVAL_S = 60.0


class FileWatch:
    """Loads files again after they were changed. Not thread-safe."""

    def __init__(
        self,
        files: Iterable[Path],
        clock: Callable[[], float] = time.monotonic,
        subject: str = "certificate files",
    ) -> None:
        """Read the present state of the files, which must be loaded after this call.

        Args:
            files: The files.
            clock: Returns the time in seconds.
            subject: Name of the files in log messages.
        """
        self._subject = subject
        self._files = tuple(files)
        self._clock = clock
        self._states = self._read()
        self._failed: tuple[_FileState, ...] | None = None
        self._logged_at_s = 0.0

    def load_changed(self, load: Callable[[], T]) -> T | None:
        """Load the files if one of them was changed, replaced, created or removed.

        A failure is logged, and the files are loaded again at the next call even if they are still
        the same, because its cause may be outside of them, such as a permission.

        Args:
            load: Loads the files. Raises OSError or ValueError if that is not possible.

        Returns:
            The return value of `load`, or None if no file was changed or the files cannot be
            loaded.
        """
        # If a file changes while it is loaded, its state differs again at the next call.
        states = self._read()
        if states == self._states:
            return None
        try:
            loaded = load()
        except (OSError, ValueError) as error:
            self._log_failure(states, error)
            return None
        self._states, self._failed = states, None
        _log.info("loaded the change of %s", self._subject)
        return loaded

    def _log_failure(self, states: tuple[_FileState, ...], error: Exception) -> None:
        now_s = self._clock()
        if states != self._failed or now_s - self._logged_at_s >= _LOG_INTERVAL_S:
            _log.warning("the change of %s could not be loaded: %s", self._subject, error)
            self._failed, self._logged_at_s = states, now_s

    def _read(self) -> tuple[_FileState, ...]:
        return tuple(_state(path) for path in self._files)


def _state(path: Path) -> _FileState:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
