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
from ffrtmp_shared.scenario import Source

from ffrtmp_worker.failing import AttemptFailedError

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
        source: Source,
        target: Path,
        download: Callable[[str], Iterator[bytes]],
        check_stop: Callable[[], None],
    ) -> None:
        """Put the content of `source` at `target`, downloading what the cache has not.

        `check_stop` is called now and then and may raise. Raises AttemptFailedError when the
        content is not what the digest says, and OSError when the disk does not take it.
        """
        if source.sha256 is None:
            raise NotImplementedError("synthetic sources")
        cached = self._folder / source.sha256
        if not _holds(cached, source.sha256, check_stop):
            cached.unlink(missing_ok=True)
            self._download(source, source.sha256, cached, download, check_stop)
        os.utime(cached, (time.time(), cached.stat().st_mtime))
        _link(cached, target)
        self._prune(cached)

    def _download(
        self,
        source: Source,
        sha256: str,
        cached: Path,
        download: Callable[[str], Iterator[bytes]],
        check_stop: Callable[[], None],
    ) -> None:
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
        partial = Path(name)
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for chunk in download(sha256):
                    check_stop()
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise AttemptFailedError(
                    FailureClass.SOURCE_CHECKSUM,
                    f"what the master gave for {source.name} has the digest "
                    f"{digest.hexdigest()}, not {sha256}",
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
                    file.unlink(missing_ok=True)
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


def _holds(file: Path, sha256: str, check_stop: Callable[[], None]) -> bool:
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
