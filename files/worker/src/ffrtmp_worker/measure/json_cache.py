"""Cache of values in JSON files that all slots of a node share."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

_log = logging.getLogger(__name__)

T = TypeVar("T")


class JsonCache(Generic[T]):
    """Cache of values of one type in a folder.

    The cache only saves time. If a file cannot be read, written or removed, this is logged, and the
    job continues as if nothing was cached.
    """

    def __init__(self, folder: Path | None, kind: type[T]) -> None:
        """Store values of the type `kind` in `folder`. If it is None, nothing is cached."""
        self._folder = folder
        self._kind = kind

    def load(self, name: str) -> T | None:
        """Return the cached value, or None if there is none that can be read."""
        file = self._file(name)
        if file is None:
            return None
        try:
            return msgspec.json.decode(file.read_bytes(), type=self._kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            # Another release wrote the file, or it is damaged.
            self._warn("read", file, error)
            return None

    def store(self, name: str, value: T) -> None:
        """Store a value."""
        file = self._file(name)
        if file is None:
            return
        # The slots of a node share the folder, so the file is created atomically.
        part = file.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(msgspec.json.encode(value))
            part.replace(file)
        except OSError as error:
            self._warn("stored", file, error)
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Remove a value, if it is cached."""
        file = self._file(name)
        if file is None:
            return
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            self._warn("removed", file, error)

    def _file(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{name}.json"

    def _warn(self, action: str, file: Path, error: Exception) -> None:
        _log.warning("a cached value cannot be %s", action, extra={"file": file.name, "why": error})
