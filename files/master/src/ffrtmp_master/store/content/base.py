"""The bytes of sources and artifacts: kept by their SHA-256, whole and durable, or not at all."""

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from ffrtmp_master.store.errors import TooLargeError, UnprocessableError

PIECE_BYTES = 1024 * 1024
"""Small packets are gathered, so that the disk or the database is asked once a megabyte."""

IsUsed = Callable[[Connection, Collection[str]], set[str]]
"""Returns those of some digests that a row refers to."""


@dataclass(frozen=True)
class Content:
    """Bytes that are stored."""

    sha256: str
    size_bytes: int


class ContentStore(Protocol):
    """Where content is kept. What has a digest never changes."""

    async def store(self, stream: AsyncIterator[bytes], expected: str | None = None) -> Content:
        """Store what `stream` gives; durable when this returns.

        Raises TooLargeError, or UnacceptableError when the digest is not the `expected` one;
        nothing is kept then.
        """

    async def size_bytes(self, sha256: str) -> int:
        """Return the size of what has this digest; raises NotFoundError."""

    def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Give the bytes from `start` to before `end`, piece by piece."""

    async def remove_unused(self, is_used: IsUsed, older_than_s: float) -> int:
        """Remove what no row refers to, and what uploads that died have left; count what went.

        What was stored within the last `older_than_s` stays: its row may be about to be written.
        """


class ChunkWriter:
    """What has come of an upload so far: its digest, its size, and a piece that is not full."""

    def __init__(self, max_bytes: int) -> None:
        """Take at most `max_bytes`."""
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._size_bytes = 0

    def add(self, data: bytes) -> list[bytes]:
        """Take what came; return the pieces that are full. Raises TooLargeError."""
        self._size_bytes += len(data)
        if self._size_bytes > self._max_bytes:
            raise TooLargeError(f"more than the {self._max_bytes} bytes that are allowed")
        self._buffer += data
        full = []
        while len(self._buffer) >= PIECE_BYTES:
            full.append(bytes(self._buffer[:PIECE_BYTES]))
            del self._buffer[:PIECE_BYTES]
        return full

    def rest(self) -> bytes:
        """Return the last piece, which may be empty."""
        return bytes(self._buffer)

    def count_in(self, piece: bytes) -> None:
        """Count a piece into the digest; for a thread, since it takes milliseconds."""
        self._digest.update(piece)

    def content(self, expected: str | None) -> Content:
        """Return what came; raises UnacceptableError unless it has the `expected` digest."""
        sha256 = self._digest.hexdigest()
        if expected is not None and sha256 != expected:
            raise UnprocessableError(f"what was sent has SHA-256 {sha256}, not {expected}")
        return Content(sha256=sha256, size_bytes=self._size_bytes)
