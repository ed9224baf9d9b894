"""Content in the database, stored in pieces, so that several masters can serve it.

The pieces of an upload become content when a short transaction lists them under their digest.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from uuid import UUID

from ffrtmp_shared.ids import new_id
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.store.content.base import PIECE_BYTES, ChunkWriter, Content, IsUsed
from ffrtmp_master.store.errors import NotFoundError, UnprocessableError
from ffrtmp_master.store.schema import content_pieces, contents

_log = logging.getLogger(__name__)

_LONGEST_UPLOAD_S = 24 * 3600.0
# One hour more than the longest upload, because the clocks of two masters may differ.
_ABANDONED_S = 25 * 3600.0
_PIECES_AT_ONCE = 32
_DIGESTS_AT_ONCE = 500

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_NOT_YET_DURABLE = text("SET LOCAL synchronous_commit = off")


class DatabaseContent:
    """A store for one kind of content in PostgreSQL. It has its own connections to write with."""

    def __init__(self, kind: str, max_bytes: int, writing: Engine, reading: Engine) -> None:
        """Create a store.

        Args:
            kind: The kind of content.
            max_bytes: The maximum size of an upload.
            writing: The engine to write with.
            reading: The engine to read with.
        """
        self._kind = kind
        self._max_bytes = max_bytes
        self._writing = writing
        self._reading = reading

    async def store(self, stream: AsyncIterator[bytes], expected: str | None = None) -> Content:
        """Store the bytes of `stream`, as described for ContentStore."""
        upload = new_id()
        is_complete = False
        try:
            content = await self._fill(upload, stream, expected)
            is_complete = True
        finally:
            if not is_complete:
                await self._abandon(upload)
        # If this raises an error, it is unknown whether the pieces were listed. They are then kept
        # for a day.
        if not await asyncio.to_thread(self._list, upload, content):
            await self._abandon(upload)
        return content

    async def size_bytes(self, sha256: str) -> int:
        """Return the size of content. Raises NotFoundError."""
        return (await asyncio.to_thread(self._find, sha256))[1]

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield a range of the content, as described for ContentStore.

        Each piece is read in a separate transaction.

        Args:
            sha256: The digest of the content.
            start: The offset of the first byte.
            end: The offset after the last byte.

        Yields:
            The pieces.
        """
        upload, _ = await asyncio.to_thread(self._find, sha256)
        for number in range(start // PIECE_BYTES, -(-end // PIECE_BYTES)):
            piece = await asyncio.to_thread(self._chunk, upload, number)
            first = number * PIECE_BYTES
            yield piece[max(start - first, 0) : end - first]

    async def remove_unused(self, is_used: IsUsed, older_than_s: float) -> int:
        """Remove unused content, as described for ContentStore."""
        removed, last = 0, ""
        while old := await asyncio.to_thread(self._old_digests, last, older_than_s):
            last = old[-1]
            for sha256 in await asyncio.to_thread(self._unused, is_used, old):
                upload = await asyncio.to_thread(self._unlist, sha256, is_used, older_than_s)
                if upload is not None:
                    await asyncio.to_thread(self._remove_chunks, upload)
                    removed += 1
        for upload in await asyncio.to_thread(self._abandoned):
            await asyncio.to_thread(self._remove_chunks, upload)
            removed += 1
        return removed

    async def _fill(
        self, upload: UUID, stream: AsyncIterator[bytes], expected: str | None
    ) -> Content:
        writer = ChunkWriter(self._max_bytes)
        deadline_s = time.monotonic() + _LONGEST_UPLOAD_S
        number = 0

        def write(number: int, piece: bytes) -> None:
            writer.count_in(piece)
            with self._writing.begin() as connection:
                connection.execute(_NOT_YET_DURABLE)
                connection.execute(
                    insert(content_pieces).values(upload=upload, number=number, piece=piece)
                )

        async for data in stream:
            if time.monotonic() > deadline_s:
                raise UnprocessableError("the upload took more than a day")
            for piece in writer.add(data):
                await asyncio.to_thread(write, number, piece)
                number += 1
        if rest := writer.rest():
            await asyncio.to_thread(write, number, rest)
        return writer.content(expected)

    async def _abandon(self, upload: UUID) -> None:
        try:
            await asyncio.to_thread(self._remove_chunks, upload)
        except SQLAlchemyError as error:
            _log.warning("the pieces of an upload are kept until the next cleanup: %s", error)

    def _list(self, upload: UUID, content: Content) -> bool:
        """List the pieces of an upload as content, unless there is content with this digest.

        Return whether they were listed. The commit makes the pieces durable as well, because they
        were written before it.
        """
        values = {"size_bytes": content.size_bytes, "stored_at": func.clock_timestamp()}
        with self._writing.begin() as connection:
            self._lock(connection, content.sha256)
            listed = connection.execute(
                postgresql.insert(contents)
                .values(kind=self._kind, sha256=content.sha256, upload=upload, **values)
                .on_conflict_do_nothing(index_elements=[contents.c.kind, contents.c.sha256])
                .returning(contents.c.upload)
            ).scalar()
            if listed is None:
                connection.execute(
                    update(contents)
                    .where(contents.c.kind == self._kind, contents.c.sha256 == content.sha256)
                    .values(stored_at=func.clock_timestamp())
                )
        return listed is not None

    def _find(self, sha256: str) -> tuple[UUID, int]:
        query = select(contents.c.upload, contents.c.size_bytes).where(
            contents.c.kind == self._kind, contents.c.sha256 == sha256
        )
        with self._reading.begin() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFoundError(f"there is no content with SHA-256 {sha256}")
        return row.upload, row.size_bytes

    def _chunk(self, upload: UUID, number: int) -> bytes:
        query = select(content_pieces.c.piece).where(
            content_pieces.c.upload == upload, content_pieces.c.number == number
        )
        with self._reading.begin() as connection:
            piece: bytes = connection.execute(query).scalar_one()
        return piece

    def _old_digests(self, after: str, older_than_s: float) -> list[str]:
        query = (
            select(contents.c.sha256)
            .where(contents.c.kind == self._kind, contents.c.sha256 > after, _is_old(older_than_s))
            .order_by(contents.c.sha256)
            .limit(_DIGESTS_AT_ONCE)
        )
        with self._reading.begin() as connection:
            return list(connection.execute(query).scalars())

    def _unused(self, is_used: IsUsed, digests: list[str]) -> list[str]:
        with self._reading.begin() as connection:
            return sorted(set(digests) - is_used(connection, digests))

    def _unlist(self, sha256: str, is_used: IsUsed, older_than_s: float) -> UUID | None:
        """Remove content from the list and return its upload. If it is now used, return None."""
        with self._writing.begin() as connection:
            self._lock(connection, sha256)
            if is_used(connection, [sha256]):
                return None
            upload: UUID | None = connection.execute(
                delete(contents)
                .where(
                    contents.c.kind == self._kind,
                    contents.c.sha256 == sha256,
                    _is_old(older_than_s),
                )
                .returning(contents.c.upload)
            ).scalar()
            return upload

    def _remove_chunks(self, upload: UUID) -> None:
        """Remove the pieces of an upload, the last piece first.

        If the removal is interrupted, `_abandoned` still finds the upload by its first piece.
        """
        of_upload = content_pieces.c.upload == upload
        last = (
            select(content_pieces.c.number)
            .where(of_upload)
            .order_by(content_pieces.c.number.desc())
            .limit(_PIECES_AT_ONCE)
        )
        has_more = True
        while has_more:
            with self._writing.begin() as connection:
                numbers = list(connection.execute(last).scalars())
                has_more = bool(numbers)
                connection.execute(
                    delete(content_pieces).where(of_upload, content_pieces.c.number.in_(numbers))
                )

    def _abandoned(self) -> list[UUID]:
        """Return the uploads that were interrupted."""
        is_listed = exists(select(1).where(contents.c.upload == content_pieces.c.upload))
        query = select(content_pieces.c.upload).where(
            content_pieces.c.number == 0,
            content_pieces.c.upload < _first_id_of(time.time() - _ABANDONED_S),
            ~is_listed,
        )
        with self._reading.begin() as connection:
            return list(connection.execute(query).scalars())

    def _lock(self, connection: Connection, sha256: str) -> None:
        """Prevent other masters from listing or removing content until the transaction ends."""
        connection.execute(_LOCK, {"name": f"content {self._kind} {sha256}"})


def _is_old(older_than_s: float) -> ColumnElement[bool]:
    return contents.c.stored_at < func.clock_timestamp() - func.make_interval(
        0, 0, 0, 0, 0, 0, older_than_s
    )


def _first_id_of(moment_s: float) -> UUID:
    """Return a lower bound for the UUIDv7s that are created at or after a time."""
    return UUID(int=int(moment_s * 1000) << 80)
