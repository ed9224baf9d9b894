"""Content stores, which hold the bytes of sources and artifacts by their SHA-256 digests."""

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from ffrtmp_master.store.errors import TooLargeError, UnprocessableError

PIECE_BYTES = 1024 * 1024
"""The size of the pieces that are written. Packets are buffered to reduce the number of writes."""

IsUsed = Callable[[Connection, Collection[str]], set[str]]
"""A function that returns those of the digests that a row in the database refers to."""


@dataclass(frozen=True)
class Content:
    """The digest and size of stored bytes."""

    sha256: str
    size_bytes: int


class ContentStore(Protocol):
    """A store of immutable content that is addressed by its SHA-256 digest."""

    async def store(self, stream: AsyncIterator[bytes], expected: str | None = None) -> Content:
        """Store the bytes of `stream`. They are durable when the method returns.

        Raises TooLargeError if there are too many bytes, or UnprocessableError if the digest
        differs from `expected`. In these cases, nothing is stored.
        """

    async def size_bytes(self, sha256: str) -> int:
        """Return the size of the content with a digest. Raises NotFoundError."""

    def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Return an iterator over a range of the content in pieces.

        Args:
            sha256: The digest of the content.
            start: The offset of the first byte.
            end: The offset after the last byte.

        Returns:
            The iterator.
        """

    async def remove_unused(self, is_used: IsUsed, older_than_s: float) -> int:
        """Remove unused content and the remains of interrupted uploads; return their number.

        Content that was stored within the last `older_than_s` seconds is kept, because the row that
        refers to it may not have been written yet.
        """


class ChunkWriter:
    """The state of an upload, which is split into pieces, measured and hashed."""

    def __init__(self, max_bytes: int) -> None:
        """Create the state of an upload of at most `max_bytes`."""
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._size_bytes = 0

    def add(self, data: bytes) -> list[bytes]:
        """Add received bytes and return the complete pieces. Raises TooLargeError."""
        self._size_bytes += len(data)
        if self._size_bytes > self._max_bytes:
            raise TooLargeError(
                f"the upload has more than the {self._max_bytes} bytes that are allowed"
            )
        self._buffer += data
        complete = []
        while len(self._buffer) >= PIECE_BYTES:
            complete.append(bytes(self._buffer[:PIECE_BYTES]))
            del self._buffer[:PIECE_BYTES]
        return complete

    def rest(self) -> bytes:
        """Return the last piece, which is incomplete and may be empty."""
        return bytes(self._buffer)

    def count_in(self, piece: bytes) -> None:
        """Update the digest with a piece. Call this in a thread, because it takes milliseconds."""
        self._digest.update(piece)

    def content(self, expected: str | None) -> Content:
        """Return the content. Raises UnprocessableError if its digest differs from `expected`."""
        sha256 = self._digest.hexdigest()
        if expected is not None and sha256 != expected:
            raise UnprocessableError(f"the uploaded bytes have SHA-256 {sha256}, not {expected}")
        return Content(sha256=sha256, size_bytes=self._size_bytes)
