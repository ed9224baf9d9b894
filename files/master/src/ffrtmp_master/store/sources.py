"""Uploaded sources: their owners, their total size, and their removal when no run needs them."""

import re
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from ffrtmp_shared.models import SourcePage, StoredSource
from ffrtmp_shared.states import JobState
from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    cast,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)

from ffrtmp_master.store.content.base import Content
from ffrtmp_master.store.errors import NotFoundError, TooLargeError
from ffrtmp_master.store.rows import USE_RECORDED_EVERY
from ffrtmp_master.store.schema import jobs, runs, sources
from ffrtmp_master.store.upserts import insert_into

_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_UNFINISHED = (JobState.QUEUED, JobState.LEASED, JobState.RUNNING)


class TokenUse(NamedTuple):
    """The number and the total size of the sources that were uploaded with a token."""

    files: int
    size_bytes: int


class SourceQuota(NamedTuple):
    """The largest number and total size of the sources of a token."""

    max_files: int
    max_bytes: int

    def check(self, use: TokenUse, added_bytes: int) -> None:
        """Raise TooLargeError if another source of `added_bytes` bytes would exceed the quota."""
        if use.files + 1 > self.max_files:
            raise TooLargeError(
                f"the token has uploaded {use.files} sources; at most {self.max_files} are allowed "
                "(master_max_token_files); remove sources that are no longer needed"
            )
        if use.size_bytes + added_bytes > self.max_bytes:
            raise TooLargeError(
                f"with this one, the sources of the token would have more than {self.max_bytes} "
                "bytes (master_max_token_bytes); remove sources that are no longer needed"
            )


def token_use(connection: Connection, token: str) -> TokenUse:
    """Return the number and the total size of the sources that were uploaded with a token."""
    query = select(func.count(), func.coalesce(func.sum(sources.c.size_bytes), 0)).where(
        sources.c.uploaded_by == token
    )
    files, size_bytes = connection.execute(query).one()
    return TokenUse(int(files), int(size_bytes))


def add_source(
    connection: Connection, content: Content, *, token: str, now: datetime, quota: SourceQuota
) -> None:
    """Record that a source is stored.

    If the source was uploaded before, only the time of its last use changes.

    Args:
        connection: A connection with an open transaction.
        content: The digest and size of the source.
        token: The name of the token.
        now: The current time.
        quota: The limits of the token.

    Raises:
        TooLargeError: A new source would exceed the limits.
    """
    if not is_stored(connection, content.sha256):
        quota.check(token_use(connection, token), content.size_bytes)
    values = {"size_bytes": content.size_bytes, "stored_at": now}
    connection.execute(
        insert_into(connection, sources)
        .values(sha256=content.sha256, uploaded_by=token, **values)
        .on_conflict_do_update(index_elements=[sources.c.sha256], set_=values)
    )


def is_stored(connection: Connection, sha256: str) -> bool:
    """Return whether a source was uploaded."""
    return connection.execute(select(1).where(sources.c.sha256 == sha256)).first() is not None


def stored_of(connection: Connection, digests: Collection[str]) -> set[str]:
    """Return those of the digests whose sources are stored."""
    return set(
        connection.execute(select(sources.c.sha256).where(sources.c.sha256.in_(digests))).scalars()
    )


def source_size(connection: Connection, sha256: str) -> int:
    """Return the size of a source in bytes. Raises NotFoundError."""
    size: int | None = connection.execute(
        select(sources.c.size_bytes).where(sources.c.sha256 == sha256)
    ).scalar()
    if size is None:
        raise _missing(sha256)
    return size


def owner_of(connection: Connection, sha256: str) -> str | None:
    """Return the name of the token with which a source was uploaded.

    Sources that were uploaded to release 0.1.0 have none. Raises NotFoundError.
    """
    row = connection.execute(
        select(sources.c.uploaded_by).where(sources.c.sha256 == sha256)
    ).first()
    if row is None:
        raise _missing(sha256)
    owner: str | None = row.uploaded_by
    return owner


def page_of_sources(connection: Connection, after: str, limit: int) -> SourcePage:
    """Return a page of sources, sorted by digest.

    Args:
        connection: A connection to the database.
        after: The digest after which the page begins; empty for the first page.
        limit: The maximum number of sources.

    Returns:
        The page.
    """
    query = select(sources).where(sources.c.sha256 > after).order_by(sources.c.sha256)
    rows = connection.execute(query.limit(limit + 1)).all()
    items = tuple(
        StoredSource(
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            uploaded_by=row.uploaded_by,
            used_at=row.stored_at,
        )
        for row in rows[:limit]
    )
    return SourcePage(items=items, next_cursor=items[-1].sha256 if len(rows) > limit else None)


def begin_removal(connection: Connection, sha256: str, now: datetime) -> datetime:
    """Ensure that every later submission that names a source changes the time of its last use.

    The use of a source is recorded only if the last recorded use is `USE_RECORDED_EVERY` ago.

    Args:
        connection: A connection with an open transaction.
        sha256: The digest of the source.
        now: The current time.

    Returns:
        The time of the last use, as it is recorded now.

    Raises:
        NotFoundError: There is no such source.
    """
    # A submission that names the source locks the same row, so one waits for the other.
    locked = select(sources.c.stored_at).where(sources.c.sha256 == sha256).with_for_update()
    row = connection.execute(locked).first()
    if row is None:
        raise _missing(sha256)
    # The clocks of several masters may differ slightly.
    used_at: datetime = min(row.stored_at, now - 2 * USE_RECORDED_EVERY)
    connection.execute(update(sources).where(sources.c.sha256 == sha256).values(stored_at=used_at))
    return used_at


def complete_removal(connection: Connection, sha256: str, used_at: datetime) -> bool:
    """Remove a source that has not been used since its removal began.

    Its bytes are removed later, because no record refers to them any more.

    Args:
        connection: A connection with an open transaction.
        sha256: The digest of the source.
        used_at: The time that `begin_removal` returned.

    Returns:
        Whether the source was removed.
    """
    unused = and_(sources.c.sha256 == sha256, sources.c.stored_at == used_at)
    return connection.execute(delete(sources).where(unused)).rowcount > 0


def list_removable(connection: Connection, before: datetime) -> list[str]:
    """Return the sources that were last used before a time and that no unfinished run names.

    This reads all unfinished jobs, so it must not be called in the transaction of a writer.

    Args:
        connection: A connection to the database.
        before: The time.

    Returns:
        The digests.
    """
    old = connection.execute(select(sources.c.sha256).where(sources.c.stored_at < before))
    found = set(old.scalars())
    if not found:
        return []
    unfinished = jobs.c.state.in_([literal_column(f"'{state}'") for state in _UNFINISHED])
    for query in (
        select(runs.c.suite).where(runs.c.finished_at.is_(None)),
        select(cast(jobs.c.scenario, Text)).where(unfinished),
    ):
        for text in connection.execution_options(yield_per=1000).execute(query).scalars():
            found.difference_update(_DIGEST.findall(text))
    return sorted(found)


def remove_unused_sources(connection: Connection, digests: list[str], before: datetime) -> int:
    """Remove those of the sources that have not been used since they were listed.

    Args:
        connection: A connection with an open transaction.
        digests: The digests that `list_removable` returned.
        before: The time before which the sources were last used. A submission that names a source
            changes the time of its last use.

    Returns:
        The number of removed sources.
    """
    unused = and_(sources.c.sha256.in_(digests), sources.c.stored_at < before)
    return connection.execute(delete(sources).where(unused)).rowcount


def is_needed(connection: Connection, sha256: str) -> bool:
    """Return whether an unfinished run or job names a source.

    This reads all unfinished jobs, so it must not be called in the transaction of a writer.

    A run may add further jobs as long as it is unfinished, so its suite counts too. The states are
    literals, so that the partial indexes of the queued and of the held jobs can be used.
    """
    in_suite = exists(select(1).where(runs.c.finished_at.is_(None), runs.c.suite.contains(sha256)))
    in_scenario = cast(jobs.c.scenario, Text).contains(sha256)
    queued: ColumnElement[str] = literal_column(f"'{JobState.QUEUED}'")
    held: list[ColumnElement[str]] = [
        literal_column(f"'{state}'") for state in (JobState.LEASED, JobState.RUNNING)
    ]
    needed = or_(
        in_suite,
        exists(select(1).where(and_(jobs.c.state == queued, in_scenario))),
        exists(select(1).where(and_(jobs.c.state.in_(held), in_scenario))),
    )
    return bool(connection.execute(select(needed)).scalar_one())


def _missing(sha256: str) -> NotFoundError:
    return NotFoundError(f"there is no source with SHA-256 {sha256}")
