"""What FFmpeg says while an attempt runs: pieces of text, each at its place in bytes."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from ffrtmp_shared.states import JobState
from sqlalchemy import Connection, func, insert, select

from ffrtmp_master.store.errors import ConflictError, NotFoundError, TooLargeError
from ffrtmp_master.store.schema import job_logs, jobs

# What is stored in one row, and read at once.
_PIECE_BYTES = 64 * 1024
_PIECES_AT_ONCE = 8

Key = tuple[UUID, int]
"""A job and the number of one of its attempts."""


class Appended(NamedTuple):
    """How large the log is now, and whether it had the piece before."""

    size_bytes: int
    repeated: bool


class LogStatus(NamedTuple):
    """How far a log is, and whether more may come."""

    last_offset_bytes: int
    is_running: bool


class Part(NamedTuple):
    """A part of a log, where the next begins, and whether more is there or may come."""

    text: str
    end_bytes: int
    has_more: bool
    standing: LogStatus


def append_log(
    connection: Connection, key: Key, piece: str, offset_bytes: int | None, max_bytes: int
) -> Appended:
    """Append a piece to an attempt's log; the same piece at the same place again is fine.

    With `offset_bytes` it must fit: raises ConflictError when the log ends elsewhere. Raises
    TooLargeError when the log would have more than `max_bytes`. The job must be locked.
    """
    end_bytes = _end_bytes(connection, key)
    size_bytes = len(piece.encode())
    if offset_bytes is not None and offset_bytes != end_bytes:
        if _has(connection, key, piece, offset_bytes):
            return Appended(end_bytes, repeated=True)
        raise ConflictError(
            f"the log has {end_bytes} bytes; a piece at {offset_bytes} does not fit"
        )
    if end_bytes + size_bytes > max_bytes:
        raise TooLargeError(
            f"with these {size_bytes} bytes the attempt's log would have more than {max_bytes}"
        )
    rows = []
    place = end_bytes
    for part in _cut(piece):
        rows.append({"offset_bytes": place, "piece": part})
        place += len(part.encode())
    if rows:
        job_id, attempt = key
        connection.execute(
            insert(job_logs), [{"job_id": job_id, "attempt": attempt, **row} for row in rows]
        )
    return Appended(place, repeated=False)


def read_log(connection: Connection, key: Key, after_bytes: int) -> Part:
    """Read on in an attempt's log; raises NotFoundError when there is no such attempt."""
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
        .limit(_PIECES_AT_ONCE)
    ).all()
    text = "".join(row.piece for row in rows)
    last = rows[-1].offset_bytes if rows else -1
    is_running = job.attempt == attempt and JobState(job.state).holds_lease
    return Part(
        text=text,
        end_bytes=after_bytes + len(text.encode()),
        has_more=len(rows) == _PIECES_AT_ONCE,
        standing=LogStatus(last, is_running),
    )


def last_attempt(connection: Connection, job_id: UUID) -> int:
    """Return the number of a job's newest attempt, 0 before the first; raises NotFoundError."""
    attempt = connection.execute(select(jobs.c.attempt).where(jobs.c.id == job_id)).scalar()
    if attempt is None:
        raise NotFoundError(f"there is no job {job_id}")
    return int(attempt)


def log_statuses(connection: Connection, keys: Iterable[Key]) -> dict[Key, LogStatus]:
    """Return how far several logs are, in two queries for all; a removed job is not running."""
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


def _has(connection: Connection, key: Key, piece: str, offset_bytes: int) -> bool:
    """Return whether exactly this piece stands at this place."""
    job_id, attempt = key
    parts = _cut(piece)
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


def _cut(piece: str) -> Sequence[str]:
    """Cut a piece into what one row takes, between characters."""
    if len(piece.encode()) <= _PIECE_BYTES:
        return [piece] if piece else []
    # No character has more than four bytes.
    step = _PIECE_BYTES // 4
    return [piece[start : start + step] for start in range(0, len(piece), step)]
