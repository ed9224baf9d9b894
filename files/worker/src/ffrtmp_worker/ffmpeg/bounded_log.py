"""Log file of bounded size for the output of FFmpeg."""

from pathlib import Path
from typing import BinaryIO

HEAD_MAX_BYTES = 262_144
"""Maximum size of the stored beginning of a log."""

TAIL_MAX_BYTES = 262_144
"""Maximum size of the stored end of a log."""

_TAIL_LINES = 40


class BoundedLog:
    """A log file that stores only the beginning and the end of the data written to it."""

    def __init__(
        self, path: Path, *, head_bytes: int = HEAD_MAX_BYTES, tail_bytes: int = TAIL_MAX_BYTES
    ) -> None:
        """Open the file for appending, because an encode may consist of several processes.

        Args:
            path: The file.
            head_bytes: The maximum number of bytes to store from the beginning.
            tail_bytes: The maximum number of bytes to store from the end.
        """
        self._file: BinaryIO = path.open("ab")
        self._head_left = head_bytes
        self._tail_bytes = tail_bytes
        self._tail = bytearray()
        self._omitted_bytes = 0
        self._recent = bytearray()

    def write(self, data: bytes) -> None:
        """Append data to the log."""
        self._recent = (self._recent + data)[-16_384:]
        head, rest = data[: self._head_left], data[self._head_left :]
        self._head_left -= len(head)
        if head:
            self._file.write(head)
            # Another process may follow the log.
            self._file.flush()
        self._tail += rest
        surplus = len(self._tail) - self._tail_bytes
        if surplus > 0:
            del self._tail[:surplus]
            self._omitted_bytes += surplus

    def last_lines(self) -> str:
        """Return the last lines of the log."""
        lines = self._recent.decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def close(self) -> None:
        """Write the end of the log and close the file."""
        try:
            if self._omitted_bytes:
                self._file.write(f"\n[... {self._omitted_bytes} bytes left out ...]\n".encode())
            self._file.write(self._tail)
        finally:
            self._file.close()
