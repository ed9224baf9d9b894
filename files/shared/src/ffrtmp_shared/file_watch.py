"""Detection of files that were changed or replaced, such as renewed certificates."""

from collections.abc import Iterable
from pathlib import Path

_FileState = tuple[int, int, int] | None


class FileWatch:
    """Compares the state of files with their state at the previous call."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Read the present state of the files."""
        self._files = tuple(files)
        self._states = self._read()

    def has_changed(self) -> bool:
        """Return whether a file was changed, replaced, created or removed since the last call."""
        states = self._read()
        if states == self._states:
            return False
        self._states = states
        return True

    def _read(self) -> tuple[_FileState, ...]:
        return tuple(_state(path) for path in self._files)


def _state(path: Path) -> _FileState:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
