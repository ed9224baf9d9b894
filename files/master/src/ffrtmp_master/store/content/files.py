"""Content in local files that are named by their digests, for a farm with a single master."""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sqlalchemy import Engine

from ffrtmp_master.store.content.base import ChunkWriter, Content, IsUsed
from ffrtmp_master.store.errors import NotFoundError

_READ_BYTES = 256 * 1024
_UNFINISHED = ".upload-"


class FileContent:
    """A content store in a directory to which only one process writes."""

    def __init__(self, root: Path, max_bytes: int, engine: Engine) -> None:
        """Create a store and remove the remains of interrupted uploads.

        Args:
            root: The directory.
            max_bytes: The maximum size of an upload.
            engine: The engine that queries which files are used.
        """
        self._root = root
        self._max_bytes = max_bytes
        self._engine = engine
        # This lock is held while files are renamed, and while unused files are determined and
        # removed.
        self._rename_lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        # Incomplete uploads of a killed master are never used, because clients upload again.
        for leftover in root.glob(f"{_UNFINISHED}*"):
            leftover.unlink()

    def path(self, sha256: str) -> Path:
        """Return the path of the file with a digest, whether it exists or not."""
        return self._root / sha256[:2] / sha256

    async def store(self, stream: AsyncIterator[bytes], expected: str | None = None) -> Content:
        """Store the bytes of `stream`, as described for ContentStore."""
        descriptor, name = await asyncio.to_thread(
            tempfile.mkstemp, prefix=_UNFINISHED, dir=self._root
        )
        try:
            content = await self._fill(descriptor, stream, expected)
            await asyncio.to_thread(self._finish, descriptor, Path(name), content.sha256)
        finally:
            os.close(descriptor)
            Path(name).unlink(missing_ok=True)
        return content

    async def size_bytes(self, sha256: str) -> int:
        """Return the size of a file. Raises NotFoundError."""
        try:
            found = await asyncio.to_thread(self.path(sha256).stat)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no content with SHA-256 {sha256}") from error
        return found.st_size

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield a range of a file in pieces, as described for ContentStore.

        Args:
            sha256: The digest of the content.
            start: The offset of the first byte.
            end: The offset after the last byte.

        Yields:
            The pieces.
        """
        file = await asyncio.to_thread(self.path(sha256).open, "rb")
        with file:
            file.seek(start)
            remaining = end - start
            while remaining and (
                piece := await asyncio.to_thread(file.read, min(remaining, _READ_BYTES))
            ):
                remaining -= len(piece)
                yield piece
        if remaining:
            raise OSError(f"the file {sha256} was truncated: {remaining} bytes are missing")

    async def remove_unused(self, is_used: IsUsed, older_than_s: float) -> int:
        """Remove unused files, as described for ContentStore.

        The remains of interrupted uploads are removed when the master starts.
        """
        removed = 0
        for folder in await asyncio.to_thread(lambda: sorted(self._root.iterdir())):
            if folder.is_dir():
                removed += await asyncio.to_thread(self._clear, folder, is_used, older_than_s)
        return removed

    async def _fill(
        self, descriptor: int, stream: AsyncIterator[bytes], expected: str | None
    ) -> Content:
        writer = ChunkWriter(self._max_bytes)

        def write(piece: bytes) -> None:
            writer.count_in(piece)
            _write(descriptor, piece)

        async for data in stream:
            for piece in writer.add(data):
                await asyncio.to_thread(write, piece)
        await asyncio.to_thread(write, writer.rest())
        return writer.content(expected)

    def _finish(self, descriptor: int, written: Path, sha256: str) -> None:
        """Make a file durable under its final name. It may replace an identical file."""
        os.fsync(descriptor)
        target = self.path(sha256)
        with self._rename_lock:
            target.parent.mkdir(exist_ok=True)
            written.replace(target)
        for folder in (target.parent, self._root):
            _sync(folder)

    def _clear(self, folder: Path, is_used: IsUsed, older_than_s: float) -> int:
        with self._rename_lock:
            before_s = time.time() - older_than_s
            old = {path.name for path in _files(folder) if path.stat().st_mtime < before_s}
            if not old:
                return 0
            with self._engine.connect() as connection, connection.begin():
                unused = old - is_used(connection, old)
            for name in unused:
                (folder / name).unlink()
        return len(unused)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file())


def _write(descriptor: int, piece: bytes) -> None:
    """Write a piece completely. On an almost full disk, one call may write only a part of it."""
    remaining = memoryview(piece)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
