"""Bundle of a run: a zip file that may come from anyone, so it is checked before it is read."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import SettingsError
from .stored_files import is_safe_path, measure

MAX_FILES = 400_000
"""Maximum number of files of a bundle."""

MAX_BYTES = 16 * 1024**3
"""Maximum size of all files of a bundle before compression, in bytes."""

MAX_LIST_BYTES = 128 * 1024**2
"""Maximum size of the list of files in the zip file, in bytes."""

_REMEDY = "Copy it again, or export the run again: ffrtmp export RUN"
_START = b"PK\x03\x04"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_LARGE_END = struct.Struct("<4sQ2H2L4Q")
_LARGE_END_SIGNATURE = b"PK\x06\x06"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_LIST_SIZE = 5
_LARGE_LIST_SIZE = 8

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
    OverflowError,
)
"""Exceptions of zipfile for damaged, encrypted and unsupported files."""


def is_bundle(path: Path) -> bool:
    """Return whether a file is a zip file, or is named like one."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".zip":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(_START)) == _START
    except OSError:
        return False


class BundleArchive:
    """The files of a bundle. Sizes, names and types of all entries are permitted."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        """Check the entries of an open zip file. Raises SettingsError."""
        self._path = path
        self._archive = archive
        self._entries = _checked_entries(path, archive.infolist())

    @property
    def names(self) -> frozenset[str]:
        """The paths of all files."""
        return frozenset(self._entries)

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading. Raises SettingsError."""
        entry = self._entries.get(name)
        if entry is None:
            raise SettingsError(f"{self._path} does not contain {name}. {_REMEDY}")
        try:
            return self._archive.open(entry)
        except (*_DAMAGE, OSError) as error:
            raise self._damage(name, error) from error

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a file, which must not be larger. Raises SettingsError."""
        with self.open(name) as file:
            if self._entries[name].file_size > max_bytes:
                raise SettingsError(f"{name} in {self._path} is larger than {max_bytes} bytes")
            try:
                return file.read()
            except (*_DAMAGE, OSError) as error:
                raise self._damage(name, error) from error

    def measure(self, name: str) -> tuple[str, int]:
        """Return the SHA-256 and the size of a file, in bytes. Raises SettingsError."""
        with self.open(name) as file:
            try:
                return measure(file)
            except (*_DAMAGE, OSError) as error:
                raise self._damage(name, error) from error

    def _damage(self, name: str, error: Exception) -> SettingsError:
        reason = str(error) or type(error).__name__
        return SettingsError(f"{name} in {self._path} is damaged: {reason}. {_REMEDY}")


@contextmanager
def open_bundle(path: Path) -> Iterator[BundleArchive]:
    """Yield the files of a bundle. Nothing is extracted to the disk.

    Args:
        path: Path of the zip file.

    Raises:
        SettingsError: It cannot be read, is not a zip file, or has entries that are not permitted.
    """
    try:
        # A named pipe without a writer would block before its type is known.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SettingsError(f"{path} is not a regular file. Name the zip file of a run")
        file = path.open("rb")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}") from error
    with file:
        try:
            _check_list_size(path, file)
            archive = zipfile.ZipFile(file)
        except (*_DAMAGE, OSError) as error:
            reason = str(error) or type(error).__name__
            raise SettingsError(f"{path} is not a valid zip file: {reason}. {_REMEDY}") from error
        with archive:
            yield BundleArchive(path, archive)


def _check_list_size(path: Path, file: IO[bytes]) -> None:
    """Check the size of the list of files, which zipfile reads completely into memory.

    The records at the end of a zip file are those of its specification (APPNOTE.TXT, 4.3.14 to
    4.3.16). A comment after them is not permitted.
    """
    size = file.seek(0, os.SEEK_END)
    if size < _END.size:
        raise SettingsError(f"{path} is not a zip file. {_REMEDY}")
    records = _LARGE_END.size + _LOCATOR.size + _END.size
    file.seek(max(size - records, 0))
    tail = file.read(records)
    signature, *_, list_bytes, _, comment_bytes = _END.unpack(tail[-_END.size :])
    if signature != _END_SIGNATURE or comment_bytes:
        raise SettingsError(
            f"{path} is not a complete zip file: its end is missing or is followed by other data. "
            f"{_REMEDY}"
        )
    sizes = [list_bytes]
    if tail[-_END.size - _LOCATOR.size :].startswith(_LOCATOR_SIGNATURE):
        large = tail[: _LARGE_END.size]
        if len(tail) < records or not large.startswith(_LARGE_END_SIGNATURE):
            raise SettingsError(f"{path} is not a valid zip file: its end is damaged. {_REMEDY}")
        sizes = [_LARGE_END.unpack(large)[_LARGE_LIST_SIZE]]
    if max(sizes) > MAX_LIST_BYTES:
        raise SettingsError(
            f"{path} is not accepted: its list of files has {max(sizes)} bytes, of which at most "
            f"{MAX_LIST_BYTES} are permitted. It is not a bundle that ffrtmp has written. {_REMEDY}"
        )


def _checked_entries(path: Path, entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a zip file by path. Raises SettingsError for what is not permitted."""
    found: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    total_bytes = 0
    if len(entries) > MAX_FILES:
        raise _refusal(path, f"it has {len(entries)} files, of which {MAX_FILES} are permitted")
    for entry in entries:
        # zipfile shortens `filename` at a null character.
        name = entry.orig_filename
        is_directory = name.endswith("/")
        if not is_safe_path(name.removesuffix("/")):
            raise _refusal(path, f"the name {name[:80]!r} is not a safe relative path")
        reason = _unsupported(entry, is_directory=is_directory)
        if reason:
            raise _refusal(path, f"{name} {reason}")
        # Some file systems do not distinguish upper and lower case.
        if name.casefold() in folded:
            raise _refusal(path, f"it contains {name} more than once")
        folded.add(name.casefold())
        total_bytes += entry.file_size
        if not is_directory:
            found[name] = entry
    if total_bytes > MAX_BYTES:
        raise _refusal(
            path, f"its files have {total_bytes} bytes, of which {MAX_BYTES} are permitted"
        )
    return found


def _unsupported(entry: zipfile.ZipInfo, *, is_directory: bool) -> str:
    """Return why an entry is not permitted, or an empty string."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if is_directory else stat.S_IFREG):
        return "is a link or another special file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted. Export or pack the run without a password"
    if entry.compress_type not in _METHODS:
        return "is compressed in another way than deflate"
    if is_directory and entry.file_size:
        return "is a directory with a content"
    return ""


def _refusal(path: Path, reason: str) -> SettingsError:
    return SettingsError(f"{path} is not accepted: {reason}. {_REMEDY}")
