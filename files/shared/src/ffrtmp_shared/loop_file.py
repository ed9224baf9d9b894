"""File with the states of a process's loops, for an exporter that exports them.

Processes without an HTTP server, such as the energy reader, write such a file.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from ffrtmp_shared.atomic_file import write_atomically
from ffrtmp_shared.loop_registry import LoopReading

_MAX_BYTES = 64 * 1024
# Readable by the exporters, which are in the group of the service.
_MODE = 0o640


def write_loop_file(file: Path, readings: Iterable[LoopReading]) -> None:
    """Write the states of loops to `file` atomically; raises OSError."""
    write_atomically(file, msgspec.json.encode(tuple(readings)), is_durable=False, mode=_MODE)


def read_loop_file(file: Path) -> tuple[LoopReading, ...]:
    """Return the states of loops in `file`; none if the file is missing or cannot be decoded."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES)
        return msgspec.json.decode(content, type=tuple[LoopReading, ...])
    except (OSError, msgspec.DecodeError):
        return ()
