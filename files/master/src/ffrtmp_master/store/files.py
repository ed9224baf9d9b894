"""Files kept by their content's SHA-256: written whole and durable, or not at all."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ffrtmp_master.store.refusals import TooLargeError, UnacceptableError

# Small pieces are gathered, so that a thread is asked once a megabyte and not once a packet.
_PIECE_BYTES = 1024 * 1024

_UNFINISHED = ".upload-"


@dataclass(frozen=True)
class Content:
    """A file that is on disk."""

    sha256: str
    size_bytes: int


class ContentStore:
    """A folder of files that are named by their digest, and therefore never change."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        """Keep files below `root`, none larger than `max_bytes`."""
        self._root = root
        self._max_bytes = max_bytes
        root.mkdir(parents=True, exist_ok=True)
        # What a killed master was writing is nobody's; its sender sends it again.
        for leftover in root.glob(f"{_UNFINISHED}*"):
            leftover.unlink()

    def path(self, sha256: str) -> Path:
        """Return where the file with this digest is, or would be."""
        return self._root / sha256[:2] / sha256

    async def keep(self, stream: AsyncIterator[bytes], expected: str | None = None) -> Content:
        """Write what `stream` gives; durable when this returns.

        Raises TooLargeError, or UnacceptableError when the digest is not the `expected` one;
        nothing is kept then.
        """
        file = await asyncio.to_thread(self._open)
        try:
            content = await self._fill(file, stream)
            if expected is not None and content.sha256 != expected:
                raise UnacceptableError(
                    f"what was sent has SHA-256 {content.sha256}, not {expected}"
                )
            await asyncio.to_thread(self._finish, file, content.sha256)
        finally:
            file.close()
            Path(file.name).unlink(missing_ok=True)
        return content

    def _open(self) -> BinaryIO:
        descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._root)
        os.close(descriptor)
        return Path(name).open("wb")

    async def _fill(self, file: BinaryIO, stream: AsyncIterator[bytes]) -> Content:
        digest = hashlib.sha256()
        size_bytes = 0
        buffer = bytearray()

        def flush(piece: bytes) -> None:
            digest.update(piece)
            file.write(piece)

        async for piece in stream:
            size_bytes += len(piece)
            if size_bytes > self._max_bytes:
                raise TooLargeError(f"more than the {self._max_bytes} bytes that are allowed")
            buffer += piece
            if len(buffer) >= _PIECE_BYTES:
                await asyncio.to_thread(flush, bytes(buffer))
                buffer.clear()
        await asyncio.to_thread(flush, bytes(buffer))
        return Content(sha256=digest.hexdigest(), size_bytes=size_bytes)

    def _finish(self, file: BinaryIO, sha256: str) -> None:
        """Make the file durable under its final name; the same content there before is as good."""
        file.flush()
        os.fsync(file.fileno())
        target = self.path(sha256)
        target.parent.mkdir(exist_ok=True)
        Path(file.name).replace(target)
        for folder in (target.parent, self._root):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
