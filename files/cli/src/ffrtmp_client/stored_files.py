"""Files of a saved run in a directory: their names, contents and digests."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from .errors import CorruptError, SettingsError
from .value_rules import END, SHA256

SUMS_NAME = "SHA256SUMS"
"""Name of the file with the digests of all other files."""

SUMS_MAX_BYTES = 256 * 1024**2
"""Maximum size of the file with digests, in bytes."""

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}" + END)
_PARTS_MAX = 8
_SHA256 = re.compile(SHA256)
_BLOCK_BYTES = 1024**2


class StoredFiles(Protocol):
    """The files of a saved run, which are in a directory or in a bundle."""

    @property
    def names(self) -> frozenset[str]:
        """The paths of all files."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading. Raises SettingsError."""
        ...

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a file, which must not be larger. Raises SettingsError."""
        ...

    def measure(self, name: str) -> tuple[str, int]:
        """Return the SHA-256 and the size of a file, in bytes. Raises SettingsError."""
        ...


class DirectoryFiles:
    """The files of a directory. Symbolic links are not followed."""

    def __init__(self, path: Path) -> None:
        """Use the directory `path`. Raises SettingsError if it cannot be read."""
        self._path = path
        try:
            self._names = frozenset(_walk(path))
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror or error}") from error

    @property
    def names(self) -> frozenset[str]:
        """The paths of all files, relative to the directory."""
        return self._names

    def open(self, name: str) -> IO[bytes]:
        """Open a regular file for reading. Raises SettingsError."""
        target = self._path / name
        try:
            # Neither follow a link out of the directory, nor wait for the writer of a named pipe.
            handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            file = os.fdopen(handle, "rb")
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                file.close()
                raise SettingsError(f"{target} is not a regular file")
        except OSError as error:
            if target.is_symlink():
                raise SettingsError(f"{target} is not a regular file") from error
            raise SettingsError(f"{target} cannot be read: {error.strerror or error}") from error
        return file

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a file, which must not be larger. Raises SettingsError."""
        with self.open(name) as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise SettingsError(f"{self._path / name} is larger than {max_bytes} bytes")
        return content

    def measure(self, name: str) -> tuple[str, int]:
        """Return the SHA-256 and the size of a file, in bytes. Raises SettingsError."""
        with self.open(name) as file:
            return measure(file)


def _walk(path: Path) -> Iterator[str]:
    """Yield the paths of everything in a directory that is not a directory."""

    def fail(error: OSError) -> None:
        raise error

    for folder, directories, files in os.walk(path, onerror=fail):
        relative = Path(folder).relative_to(path)
        links = [name for name in directories if (Path(folder) / name).is_symlink()]
        for name in (*files, *links):
            yield (relative / name).as_posix()


def measure(file: IO[bytes]) -> tuple[str, int]:
    """Return the SHA-256 and the number of the bytes that can be read from a file."""
    digest, size = hashlib.sha256(), 0
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def is_safe_path(name: str) -> bool:
    """Return whether a path is relative, and remains below any directory to which it is added."""
    parts = name.split("/")
    return len(parts) <= _PARTS_MAX and all(_PART.match(part) for part in parts)


def parse_sha256sums(content: bytes) -> Mapping[str, str]:
    """Return the digests of files by path.

    Args:
        content: The content of a file in the format of `sha256sum`.

    Raises:
        CorruptError: The content has another format, an unsafe path, or a path twice.
    """
    digests: dict[str, str] = {}
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise CorruptError(f"{SUMS_NAME} is not ASCII text") from error
    for number, line in enumerate(lines, 1):
        digest, separator, name = line.partition("  ")
        if not (separator and _SHA256.match(digest) and is_safe_path(name)):
            raise CorruptError(f"line {number} of {SUMS_NAME} is not a SHA-256 and a safe path")
        if name in digests:
            raise CorruptError(f"line {number} of {SUMS_NAME} repeats {name}")
        digests[name] = digest
    return digests


@contextmanager
def directory_files(path: Path) -> Iterator[DirectoryFiles]:
    """Yield the files of a directory, like `open_bundle` those of a bundle."""
    yield DirectoryFiles(path)
