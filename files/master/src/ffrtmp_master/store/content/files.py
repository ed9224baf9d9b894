"""Content in files that are named by its digest, where one master has a disk of its own."""

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
    """A folder of files. One process alone writes there."""

    def __init__(self, root: Path, max_bytes: int, engine: Engine) -> None:
        """Keep files below `root`, none larger than `max_bytes`.

        `engine` reads which of them are used.
        """
        self._root = root
        self._max_bytes = max_bytes
        self._engine = engine
        # A file is looked at and removed while no other gets its name.
        self._naming = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        # What a killed master was writing is nobody's; its sender sends it again.
        for leftover in root.glob(f"{_UNFINISHED}*"):
            leftover.unlink()

    def path(self, sha256: str) -> Path:
        """Return where the file with this digest is, or would be."""
        return self._root / sha256[:2] / sha256

    async def store(self, stream: AsyncIterator[bytes], expected: str | None = None) -> Content:
        """Store what `stream` gives, as ContentStore says."""
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
        """Return a file's size; raises NotFoundError."""
        try:
            found = await asyncio.to_thread(self.path(sha256).stat)
        except FileNotFoundError as error:
            raise NotFoundError(f"the bytes with SHA-256 {sha256} are not here") from error
        return found.st_size

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Give a part of a file."""
        file = await asyncio.to_thread(self.path(sha256).open, "rb")
        with file:
            file.seek(start)
            left = end - start
            while left and (piece := await asyncio.to_thread(file.read, min(left, _READ_BYTES))):
                left -= len(piece)
                yield piece
        if left:
            raise OSError(f"the file {sha256} is shorter than it was: {left} bytes are missing")

    async def remove_unused(self, is_used: IsUsed, older_than_s: float) -> int:
        """Remove files as ContentStore says; what uploads left goes when a master starts."""
        removed = 0
        for folder in await asyncio.to_thread(lambda: sorted(self._root.iterdir())):
            if folder.is_dir():
                removed += await asyncio.to_thread(self._clear, folder, is_used, older_than_s)
        return removed

    async def _fill(
        self, descriptor: int, stream: AsyncIterator[bytes], expected: str | None
    ) -> Content:
        gathering = ChunkWriter(self._max_bytes)

        def write(piece: bytes) -> None:
            gathering.count_in(piece)
            _write(descriptor, piece)

        async for data in stream:
            for piece in gathering.add(data):
                await asyncio.to_thread(write, piece)
        await asyncio.to_thread(write, gathering.rest())
        return gathering.content(expected)

    def _finish(self, descriptor: int, written: Path, sha256: str) -> None:
        """Make the file durable under its final name; the same content there before is as good."""
        os.fsync(descriptor)
        target = self.path(sha256)
        with self._naming:
            target.parent.mkdir(exist_ok=True)
            written.replace(target)
        for folder in (target.parent, self._root):
            _sync(folder)

    def _clear(self, folder: Path, is_used: IsUsed, older_than_s: float) -> int:
        with self._naming:
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
    """Write all of a piece: an almost full disk takes a part and says so at the next."""
    left = memoryview(piece)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
