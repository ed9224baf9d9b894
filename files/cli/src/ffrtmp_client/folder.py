"""Directory of results, with atomic replacement of its files and a reproducible archive."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .api import file_sha256
from .errors import SettingsError

_FILE_MODE = 0o644


class Folder:
    """A directory whose files are replaced atomically if their content differs.

    `changes` lists the files that were, or would be, changed. `digests` contains the SHA-256 of
    each file by its name. If `is_dry` is true, nothing is written.
    """

    def __init__(
        self,
        path: Path,
        *,
        is_dry: bool,
        modified_s: float = 0.0,
        file_mode: int = _FILE_MODE,
    ) -> None:
        """Prepare access to the directory without creating it.

        Args:
            path: Path of the directory.
            is_dry: Whether nothing is written.
            modified_s: Modification time of the files in the archive, as Unix time in seconds.
            file_mode: Permissions of the files that are written.
        """
        self.path = path
        self._file_mode = file_mode
        self._modified_s = modified_s
        self.changes: list[str] = []
        self.digests: dict[str, str] = {}
        self.is_dry = is_dry

    def put(self, name: str, content: bytes) -> None:
        """Write the file `name` if its content differs."""
        self.put_by(name, hashlib.sha256(content).hexdigest(), lambda file: file.write(content))

    def put_by(self, name: str, sha256: str, write: Callable[[IO[bytes]], object]) -> None:
        """Write the file `name` if its digest differs.

        Args:
            name: Path relative to the directory.
            sha256: Digest of the new content.
            write: Function that writes the new content.

        Raises:
            SettingsError: The file or its directory cannot be written.
        """
        target = self.path / name
        if not self.has(name, sha256):
            if not self.is_dry:
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise SettingsError(f"{target.parent} cannot be created: {error}") from error
                with replacing(target, self._file_mode) as file:
                    write(file)
            self.changes.append(name)
        # A file that could not be written is not part of the directory.
        self.digests[name] = sha256

    def has(self, name: str, sha256: str) -> bool:
        """Return whether the file `name` exists with this digest."""
        target = self.path / name
        return target.is_file() and file_sha256(target) == sha256

    def remove(self, name: str) -> None:
        """Remove the file `name`, which an earlier fetch may have written."""
        target = self.path / name
        if not target.is_file():
            return
        self.changes.append(name)
        if not self.is_dry:
            target.unlink()

    def pack(self, archive: Path) -> str | None:
        """Pack the files into an archive and return its digest.

        The archive is reproducible: it depends only on the names and contents of the files and on
        `modified_s`. Names in the archive are relative to the directory. If `is_dry` is true and
        the archive would change, None is returned.
        """
        if self.is_dry:
            is_current = not self.changes and archive.is_file()
            if not is_current and archive.name not in self.changes:
                self.changes.append(archive.name)
            return file_sha256(archive) if is_current else None
        before = file_sha256(archive) if archive.is_file() else None
        # Omit the file name and the time from the gzip header, so that the archive is reproducible.
        with (
            replacing(archive) as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in sorted(self.digests):
                self._add(tar, name)
        after = file_sha256(archive)
        if after != before:
            self.changes.append(archive.name)
        return after

    def _add(self, tar: tarfile.TarFile, name: str) -> None:
        source = self.path / name
        entry = tarfile.TarInfo(name)
        entry.size = source.stat().st_size
        entry.mode = _FILE_MODE
        # Without a fixed time, the archive would not be reproducible.
        entry.mtime = int(self._modified_s)
        with source.open("rb") as file:
            tar.addfile(entry, file)


@contextmanager
def replacing(target: Path, mode: int = _FILE_MODE) -> Iterator[IO[bytes]]:
    """Yield a temporary file that replaces `target` after it is completely written to disk.

    Args:
        target: Path of the file.
        mode: Permissions of the file.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_belongs_to(path: Path, run_id: str) -> None:
    """Raise SettingsError if the directory `path` contains the results of another run."""
    try:
        before = json.loads((path / "results.json").read_bytes())["run"]["id"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{path}/results.json does not contain the results of a run: choose another directory"
        ) from error
    if before != run_id:
        raise SettingsError(
            f"{path} contains the results of run {before}: choose another directory"
        )
