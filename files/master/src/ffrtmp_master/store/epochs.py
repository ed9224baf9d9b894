"""Epochs: periods in which the database grew without being replaced by another copy of itself.

After an older copy of the database is restored, the positions of lost rows are used again for other
rows. A position alone therefore does not identify what its holder has read. Each restore begins a
new epoch, and a cursor names the epoch of its position.

A restore cannot always be detected, so epochs begin more often than that. On SQLite, one begins
at each start of the master, because a copy can only be put in place while the master is stopped. On
PostgreSQL, one begins when a master finds another server process, database or table than before.

Each epoch records the last position before it. A cursor from an earlier epoch that this database
has been through remains valid up to that position. A cursor also names the epochs before its own,
so that its holder continues after the last row that the two histories have in common. If they have
none in common, the cursor stands for the beginning of the list.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Row, Table, delete, func, insert, select, text, update

from ffrtmp_master.store.errors import invalid_cursor
from ffrtmp_master.store.positions import START, Position, latest_position
from ffrtmp_master.store.schema import epochs, results, transitions

# The number of epochs that a cursor names, and the number of epochs that the database keeps.
_NAMED = 8
_KEPT = 100
_TOKEN_BYTES = 4
# The number of digits of the largest number in a 64-bit column.
_MAX_DIGITS = 19
# The first epoch contains the rows of releases that had no epochs.
_FIRST_PREFIX = "r"

# The token of an epoch, which cursors of earlier releases do not have, and the position.
_MARK = re.compile(rf"(?:([0-9a-f]{{{2 * _TOKEN_BYTES}}}|{_FIRST_PREFIX}[0-9a-f]*)\.)?(\d+)\.(\d+)")

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('ffrtmp epochs'))")
# A restored database has another object id, and so has a restored table in an existing database. If
# the files of a server are replaced, the server is started again.
_SERVER = text(
    "SELECT extract(epoch FROM pg_postmaster_start_time())::text || '/' || oid || '/'"
    " || 'results'::regclass::oid FROM pg_database WHERE datname = current_database()"
)
_TRANSACTIONS = text(
    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,"
    " pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
)


class Mark(NamedTuple):
    """A position in an epoch. `epoch` is empty in cursors of releases that had no epochs."""

    epoch: str
    position: Position


class _Epoch(NamedTuple):
    token: str
    # The last position before the epoch.
    start: Position


@dataclass(frozen=True)
class History:
    """The epochs that the rows of a table have been through, newest first."""

    epochs: tuple[_Epoch, ...]

    @property
    def current(self) -> str:
        """The token of the current epoch."""
        return self.epochs[0].token if self.epochs else ""

    def cursor_at(self, position: Position) -> str:
        """Return the cursor for the rows after a position; it is empty for the beginning."""
        if position == START:
            return ""
        marks, covered = [], position
        for epoch in self.epochs[:_NAMED]:
            if covered == START:
                break
            marks.append(Mark(epoch.token, covered))
            covered = min(covered, epoch.start)
        return "-".join(map(_text, marks or [Mark("", position)]))

    def position_of(self, marks: Sequence[Mark]) -> Position:
        """Return the position up to which the holder of a cursor has read the present rows.

        Args:
            marks: The content of the cursor, as returned by `parse_cursor`.

        Returns:
            The position. It is START if the holder must read everything again.
        """
        end: Position | None = None
        # A database to which no master has written yet has no epochs.
        ends: dict[str, Position | None] = {} if self.epochs else {"": None}
        for epoch in self.epochs:
            ends[epoch.token] = end
            end = epoch.start
        for mark in marks:
            token = mark.epoch or self._first
            if token in ends:
                end = ends[token]
                return mark.position if end is None else min(mark.position, end)
        return START

    def continues(self, earlier: "History", position: Position) -> bool:
        """Return whether this history has the same rows up to a position of an earlier history."""
        if self.current == earlier.current:
            return True
        return self.position_of(parse_cursor(earlier.cursor_at(position))) == position

    @property
    def _first(self) -> str:
        """The token of the epoch to which cursors without an epoch belong."""
        oldest = self.epochs[-1].token if self.epochs else ""
        return oldest if oldest.startswith(_FIRST_PREFIX) or not oldest else "unknown"


def parse_cursor(cursor: str, name: str = "cursor") -> tuple[Mark, ...]:
    """Parse a cursor that `History.cursor_at` returned. An empty cursor has no marks.

    Args:
        cursor: The text.
        name: The parameter that contains it, for the error.

    Raises:
        UnprocessableError: The text is not such a cursor.
    """
    if not cursor:
        return ()
    try:
        return tuple(_mark(part) for part in cursor.split("-"))
    except ValueError as error:
        raise invalid_cursor(name, cursor) from error


def read_history(connection: Connection, table: Table) -> History:
    """Return the epochs of `results` or `transitions`."""
    rows = connection.execute(select(epochs).order_by(epochs.c.id.desc()).limit(_KEPT)).all()
    return History(tuple(_Epoch(row.token, _starts(row)[table is transitions]) for row in rows))


def begin_epoch(connection: Connection, now: datetime, *, is_start: bool) -> None:
    """Begin a new epoch if the database may have been replaced. Called before rows are written.

    Args:
        connection: A connection with an open transaction that can write.
        now: The current time.
        is_start: Whether the process has not written to the database before.
    """
    if connection.dialect.name == "sqlite":
        if is_start:
            _begin(connection, now, None)
        return
    server = str(connection.execute(_SERVER).scalar_one())
    newest = select(epochs.c.server).order_by(epochs.c.id.desc()).limit(1)
    if connection.execute(newest).scalar() == server:
        return
    connection.execute(_LOCK)
    if connection.execute(newest).scalar() != server:
        _begin(connection, now, server)


def _begin(connection: Connection, now: datetime, server: str | None) -> None:
    previous = connection.execute(select(epochs).order_by(epochs.c.id.desc()).limit(1)).first()
    if previous is None:
        _insert(connection, now, _first_token(connection), None, 0)
        previous = connection.execute(select(epochs)).one()
    offset = previous.transaction_offset
    if server is not None:
        offset = _raised_offset(connection, offset)
    token = secrets.token_hex(_TOKEN_BYTES)
    _insert(connection, now, token, server, offset)
    # The read horizon depends on the offset in the new row.
    starts = tuple(latest_position(connection, table) for table in (results, transitions))
    (result, transition) = starts
    connection.execute(
        update(epochs)
        .where(epochs.c.token == token)
        .values(
            results_transaction_id=result.transaction_id,
            results_sequence=result.sequence,
            transitions_transaction_id=transition.transaction_id,
            transitions_sequence=transition.sequence,
        )
    )
    if starts == _starts(previous):
        # No row was stored in the previous epoch. Cursors of that epoch also name earlier ones.
        connection.execute(delete(epochs).where(epochs.c.id == previous.id))
    kept = connection.execute(
        select(epochs.c.id).order_by(epochs.c.id.desc()).limit(1).offset(_KEPT - 1)
    ).scalar()
    if kept is not None:
        connection.execute(delete(epochs).where(epochs.c.id < kept))


def _insert(
    connection: Connection, now: datetime, token: str, server: str | None, offset: int
) -> None:
    connection.execute(
        insert(epochs).values(
            token=token,
            server=server,
            began_at=now,
            transaction_offset=offset,
            results_transaction_id=START.transaction_id,
            results_sequence=START.sequence,
            transitions_transaction_id=START.transaction_id,
            transitions_sequence=START.sequence,
        )
    )


def _first_token(connection: Connection) -> str:
    """Return the token of the first epoch, which is the same in all copies of the database."""
    first = connection.execute(
        select(results.c.id).order_by(results.c.transaction_id, results.c.sequence).limit(1)
    ).scalar()
    return _FIRST_PREFIX + ("" if first is None else first.hex)


def _raised_offset(connection: Connection, offset: int) -> int:
    """Return the offset of transaction ids with which new rows follow all existing rows.

    A restored row keeps its transaction id, but a new cluster begins with low ids again.
    """
    oldest_open, next_id = connection.execute(_TRANSACTIONS).one()
    highest = max(
        connection.execute(select(func.coalesce(func.max(table.c.transaction_id), -1))).scalar_one()
        for table in (results, transitions)
    )
    if highest < offset + next_id:
        return offset
    raised = int(highest) + 1 - int(oldest_open)
    for table in (results, transitions):
        connection.execute(
            text(
                f"ALTER TABLE {table.name} ALTER COLUMN transaction_id"
                f" SET DEFAULT pg_current_xact_id()::text::bigint + {raised}"
            )
        )
    return raised


def _starts(row: Row[tuple[object, ...]]) -> tuple[Position, Position]:
    """Return the last positions of results and of transitions before an epoch."""
    return (
        Position(row.results_transaction_id, row.results_sequence),
        Position(row.transitions_transaction_id, row.transitions_sequence),
    )


def _text(mark: Mark) -> str:
    position = f"{mark.position.transaction_id}.{mark.position.sequence}"
    return f"{mark.epoch}.{position}" if mark.epoch else position


def _mark(text_of_mark: str) -> Mark:
    """Parse a part of a cursor. Raises ValueError."""
    found = _MARK.fullmatch(text_of_mark)
    if found is None or not (is_number(found[2]) and is_number(found[3])):
        raise ValueError(f"{text_of_mark!r} is not a position in an epoch")
    return Mark(found[1] or "", Position(int(found[2]), int(found[3])))


def is_number(digits: str) -> bool:
    """Return whether `digits` is a nonnegative integer that fits into a 64-bit column."""
    is_short = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    return is_short and int(digits) < 2**63
