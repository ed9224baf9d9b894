"""The node's cache of sources; each file is named after the SHA-256 of its content."""

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ffrtmp_shared.failure_classes import FailureClass

from ffrtmp_worker.errors import AttemptFailedError

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_ABANDONED_AFTER_S = 24 * 3600.0


class SourceCache:
    """A folder of files that all slots of a node may use concurrently.

    A file appears under its digest only when it is complete, verified and on disk. It is verified
    again at each use. This also loads the file into the page cache before anything is timed.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Store up to `max_bytes` in `folder`. The file in use is never removed."""
        self._folder = folder
        self._max_bytes = max_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def fetch(
        self,
        sha256: str,
        target: Path,
        chunks: Iterator[bytes],
        check_stop: Callable[[], None],
    ) -> None:
        """Place the content with the given digest at `target`; download it if it is not cached.

        Args:
            sha256: digest of the content, in hexadecimal.
            target: where to place the file.
            chunks: the content, which is read only if it is not cached.
            check_stop: a function, called repeatedly, that may raise an error to end the transfer.

        Raises:
            AttemptFailedError: the content does not match the digest.
            OSError: the file cannot be written.
            Exception: any error raised by `chunks` or `check_stop`.
        """
        cached = self._folder / sha256
        if not _has_digest(cached, sha256, check_stop):
            cached.unlink(missing_ok=True)
            self._download(sha256, cached, chunks, check_stop)
        self._link_or_create(cached, target)

    def get_or_create(
        self,
        key: str,
        target: Path,
        make: Callable[[Path], None],
        check_stop: Callable[[], None],
    ) -> str:
        """Place a generated file at `target`; generate it if it is not cached.

        Args:
            key: the identifier of the file, in hexadecimal. The digest of the content is stored
                next to the file.
            target: where to place the file.
            make: a function that writes the file to the path that it receives.
            check_stop: a function, called repeatedly, that may raise an error to end the work.

        Returns:
            The SHA-256 of the file's content, in hexadecimal.

        Raises:
            OSError: the file cannot be written.
            Exception: any error raised by `make` or `check_stop`.
        """
        cached = self._folder / f"made-{key}"
        digest_file = self._folder / f"made-{key}.sha256"
        digest = digest_file.read_text(encoding="ascii") if digest_file.exists() else ""
        if not (digest and _has_digest(cached, digest, check_stop)):
            digest = self._make(cached, digest_file, make)
        self._link_or_create(cached, target)
        return digest

    def _link_or_create(self, cached: Path, target: Path) -> None:
        os.utime(cached, (time.time(), cached.stat().st_mtime))
        _link(cached, target)
        self._prune(cached)

    def _make(self, cached: Path, digest_file: Path, make: Callable[[Path], None]) -> str:
        with tempfile.TemporaryDirectory(dir=self._folder, suffix=".part") as name:
            made = Path(name) / "made"
            make(made)
            with made.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            made.chmod(0o444)
            digest_file.unlink(missing_ok=True)
            made.replace(cached)
        digest_file.write_text(digest, encoding="ascii")
        return digest

    def _download(
        self,
        sha256: str,
        cached: Path,
        chunks: Iterator[bytes],
        check_stop: Callable[[], None],
    ) -> None:
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
        partial = Path(name)
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    check_stop()
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                # The digest found would tell what a server returned that the suite may not read.
                raise AttemptFailedError(
                    FailureClass.SOURCE_CHECKSUM,
                    f"the content has another digest than {sha256}, which the suite states",
                )
            partial.chmod(0o444)
            partial.replace(cached)
        finally:
            partial.unlink(missing_ok=True)

    def _prune(self, in_use: Path) -> None:
        """Remove abandoned downloads, and the least recently used files until the rest fits."""
        now = time.time()
        found = []
        for file in self._folder.iterdir():
            try:
                status = file.stat()
            except FileNotFoundError:
                continue  # Another slot removed it.
            if file.suffix == ".part":
                if now - status.st_mtime > _ABANDONED_AFTER_S:
                    _remove(file)
            else:
                found.append((status.st_atime, status.st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self._max_bytes:
                break
            if file != in_use:
                # Each attempt has its own link or copy, so no attempt loses a file that it reads.
                file.unlink(missing_ok=True)
                total -= size
                _log.info("a file was removed from the cache", extra={"file": file.name})


def _remove(abandoned: Path) -> None:
    if abandoned.is_dir():
        shutil.rmtree(abandoned)
    else:
        abandoned.unlink(missing_ok=True)


def _has_digest(file: Path, sha256: str, check_stop: Callable[[], None]) -> bool:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                check_stop()
                digest.update(chunk)
    except FileNotFoundError:
        return False
    if digest.hexdigest() == sha256:
        return True
    _log.warning("a cached source is damaged; it is fetched again", extra={"sha256": sha256})
    return False


def _link(cached: Path, target: Path) -> None:
    try:
        target.hardlink_to(cached)
    except OSError:
        # The target is on another file system, or on one without hard links.
        shutil.copyfile(cached, target)
