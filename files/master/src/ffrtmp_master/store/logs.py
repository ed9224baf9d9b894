"""Logs of attempts: the output of FFmpeg, stored as pieces of text by byte offset."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from ffrtmp_shared.states import JobState
from sqlalchemy import Connection, func, insert, select

from ffrtmp_master.store.errors import ConflictError, NotFoundError, TooLargeError
from ffrtmp_master.store.schema import job_logs, jobs

# The maximum size of the piece in a row, and the maximum number of rows that are read together.
_ROW_BYTES = 64 * 1024
_ROWS_PER_READ = 8

Key = tuple[UUID, int]
"""A job and the number of one of its attempts."""


class Appended(NamedTuple):
    """The size of the log after an append, and whether the log already contained the piece."""

    size_bytes: int
    repeated: bool


class LogStatus(NamedTuple):
    """The offset of the last piece of a log, and whether the attempt is running."""

    last_offset_bytes: int
    is_running: bool


class Part(NamedTuple):
    """A part of a log.

    Attributes:
        text: The text of the part.
        end_bytes: The offset at which the next part begins.
        has_more: Whether a further part may already be stored.
        standing: The status of the log.
    """

    text: str
    end_bytes: int
    has_more: bool
    standing: LogStatus


def append_log(
    connection: Connection, key: Key, piece: str, offset_bytes: int | None, max_bytes: int
) -> Appended:
    """Append a piece to the log of an attempt.

    If the log already has the same piece at the same offset, nothing changes. The caller must have
    locked the job.

    Args:
        connection: A connection with an open transaction.
        key: The job and the attempt.
        piece: The text.
        offset_bytes: The offset of the piece in bytes of UTF-8, or None for the end of the log.
        max_bytes: The maximum size of the log.

    Returns:
        The size of the log, and whether the append was a repetition.

    Raises:
        ConflictError: The log does not end at `offset_bytes`.
        TooLargeError: The log would be larger than `max_bytes`.
    """
    end_bytes = _end_bytes(connection, key)
    size_bytes = len(piece.encode())
    if offset_bytes is not None and offset_bytes != end_bytes:
        if _has_piece(connection, key, piece, offset_bytes):
            return Appended(end_bytes, repeated=True)
        raise ConflictError(
            f"the log ends at byte {end_bytes}; a piece at byte {offset_bytes} cannot be appended"
        )
    if end_bytes + size_bytes > max_bytes:
        raise TooLargeError(
            f"with these {size_bytes} bytes the attempt's log would have more than {max_bytes}"
        )
    rows = []
    offset = end_bytes
    for part in _split(piece):
        rows.append({"offset_bytes": offset, "piece": part})
        offset += len(part.encode())
    if rows:
        job_id, attempt = key
        connection.execute(
            insert(job_logs), [{"job_id": job_id, "attempt": attempt, **row} for row in rows]
        )
    return Appended(offset, repeated=False)


def read_log(connection: Connection, key: Key, after_bytes: int) -> Part:
    """Return the next part of the log of an attempt.

    Args:
        connection: A connection to the database.
        key: The job and the attempt.
        after_bytes: The offset at which the part begins.

    Returns:
        The part, which is empty at the end of the log.

    Raises:
        NotFoundError: There is no such job or attempt.
    """
    job_id, attempt = key
    job = connection.execute(
        select(jobs.c.attempt, jobs.c.state).where(jobs.c.id == job_id)
    ).first()
    if job is None:
        raise NotFoundError(f"there is no job {job_id}")
    if not 0 <= attempt <= job.attempt:
        raise NotFoundError(f"job {job_id} has no attempt {attempt}; its last is {job.attempt}")
    rows = connection.execute(
        select(job_logs.c.offset_bytes, job_logs.c.piece)
        .where(
            job_logs.c.job_id == job_id,
            job_logs.c.attempt == attempt,
            job_logs.c.offset_bytes >= after_bytes,
        )
        .order_by(job_logs.c.offset_bytes)
        .limit(_ROWS_PER_READ)
    ).all()
    text = "".join(row.piece for row in rows)
    last = rows[-1].offset_bytes if rows else -1
    is_running = job.attempt == attempt and JobState(job.state).holds_lease
    return Part(
        text=text,
        end_bytes=after_bytes + len(text.encode()),
        has_more=len(rows) == _ROWS_PER_READ,
        standing=LogStatus(last, is_running),
    )


def last_attempt(connection: Connection, job_id: UUID) -> int:
    """Return the number of the newest attempt of a job; 0 if it has had none.

    Raises NotFoundError.
    """
    attempt = connection.execute(select(jobs.c.attempt).where(jobs.c.id == job_id)).scalar()
    if attempt is None:
        raise NotFoundError(f"there is no job {job_id}")
    return int(attempt)


def log_statuses(connection: Connection, keys: Iterable[Key]) -> dict[Key, LogStatus]:
    """Return the statuses of several logs, using two queries. Removed jobs count as not running."""
    wanted = set(keys)
    ids = {job_id for job_id, _ in wanted}
    running = {
        (row.id, row.attempt)
        for row in connection.execute(
            select(jobs.c.id, jobs.c.attempt, jobs.c.state).where(jobs.c.id.in_(ids))
        )
        if JobState(row.state).holds_lease
    }
    last = {
        (row.job_id, row.attempt): row.last
        for row in connection.execute(
            select(
                job_logs.c.job_id,
                job_logs.c.attempt,
                func.max(job_logs.c.offset_bytes).label("last"),
            )
            .where(job_logs.c.job_id.in_(ids))
            .group_by(job_logs.c.job_id, job_logs.c.attempt)
        )
    }
    return {key: LogStatus(last.get(key, -1), key in running) for key in wanted}


def _end_bytes(connection: Connection, key: Key) -> int:
    job_id, attempt = key
    row = connection.execute(
        select(job_logs.c.offset_bytes, job_logs.c.piece)
        .where(job_logs.c.job_id == job_id, job_logs.c.attempt == attempt)
        .order_by(job_logs.c.offset_bytes.desc())
        .limit(1)
    ).first()
    return 0 if row is None else row.offset_bytes + len(row.piece.encode())


def _has_piece(connection: Connection, key: Key, piece: str, offset_bytes: int) -> bool:
    """Return whether the log has exactly this piece at this offset."""
    job_id, attempt = key
    parts = _split(piece)
    rows = connection.execute(
        select(job_logs.c.offset_bytes, job_logs.c.piece)
        .where(
            job_logs.c.job_id == job_id,
            job_logs.c.attempt == attempt,
            job_logs.c.offset_bytes >= offset_bytes,
        )
        .order_by(job_logs.c.offset_bytes)
        .limit(len(parts))
    ).all()
    is_there = bool(rows) and rows[0].offset_bytes == offset_bytes
    return is_there and [row.piece for row in rows] == parts


def _split(piece: str) -> Sequence[str]:
    """Split a piece between characters into parts that fit into one row each."""
    if len(piece.encode()) <= _ROW_BYTES:
        return [piece] if piece else []
    # A character has at most four bytes.
    step = _ROW_BYTES // 4
    return [piece[start : start + step] for start in range(0, len(piece), step)]
