"""The node's cache of sources, each named by the digest of its content."""

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ffrtmp_shared.failures import FailureClass

from ffrtmp_worker.errors import AttemptFailedError

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_ABANDONED_AFTER_S = 24 * 3600.0


class SourceCache:
    """Files in one folder that all slots of a node may use at once.

    A file appears under its digest only when it is whole, checked and on disk. It is checked
    again at each use, which also brings it into the page cache before anything is timed.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Keep at most `max_bytes` in `folder`, but always the source in use."""
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
        """Put the content with this digest at `target`, from `chunks` if the cache has it not.

        `check_stop` is called now and then and may raise. Raises AttemptFailedError when the
        content is not what the digest says, OSError when the disk does not take it, and what
        `chunks` raises.
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
        """Put at `target` what `make` writes to the path that it is given; return its digest.

        The same `key` (hexadecimal) is made once; its digest is kept beside it. `check_stop` is
        called now and then and may raise. Raises OSError when the disk does not take it, and
        what `make` raises.
        """
        cached = self._folder / f"made-{key}"
        noted = self._folder / f"made-{key}.sha256"
        digest = noted.read_text(encoding="ascii") if noted.exists() else ""
        if not (digest and _has_digest(cached, digest, check_stop)):
            digest = self._make(cached, noted, make)
        self._link_or_create(cached, target)
        return digest

    def _link_or_create(self, cached: Path, target: Path) -> None:
        os.utime(cached, (time.time(), cached.stat().st_mtime))
        _link(cached, target)
        self._prune(cached)

    def _make(self, cached: Path, noted: Path, make: Callable[[Path], None]) -> str:
        with tempfile.TemporaryDirectory(dir=self._folder, suffix=".part") as name:
            made = Path(name) / "made"
            make(made)
            with made.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            made.chmod(0o444)
            noted.unlink(missing_ok=True)
            made.replace(cached)
        noted.write_text(digest, encoding="ascii")
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
                raise AttemptFailedError(
                    FailureClass.SOURCE_CHECKSUM,
                    f"what came has the digest {digest.hexdigest()}, not {sha256}",
                )
            partial.chmod(0o444)
            partial.replace(cached)
        finally:
            partial.unlink(missing_ok=True)

    def _prune(self, in_use: Path) -> None:
        """Remove the files longest unused until the rest fits, and abandoned downloads."""
        now = time.time()
        found = []
        for file in self._folder.iterdir():
            try:
                status = file.stat()
            except FileNotFoundError:
                continue  # another slot removed it
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
                # Attempts hold links of their own, so nobody loses a file that is being read.
                file.unlink(missing_ok=True)
                total -= size
                _log.info("a source was removed from the cache", extra={"sha256": file.name})


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
    _log.warning("a cached source was damaged and is fetched anew", extra={"sha256": sha256})
    return False


def _link(cached: Path, target: Path) -> None:
    try:
        target.hardlink_to(cached)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(cached, target)
