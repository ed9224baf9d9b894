"""Positions in the order of stored rows, and the read horizon.

Readers page through results and transitions by position. They must not miss rows that are written
concurrently.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, select, text

from ffrtmp_master.store.schema import results


class Position(NamedTuple):
    """A position in the order of stored rows: by transaction, and within it by sequence number."""

    transaction_id: int
    sequence: int


START = Position(-1, -1)
"""The position before all rows."""


def position_columns(table: Table) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Return the columns of `results` or `transitions` that form the position of a row."""
    return table.c.transaction_id, table.c.sequence if table is results else table.c.id


def below_horizon(connection: Connection, table: Table) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that select the rows before which no further row can appear.

    On PostgreSQL, a transaction that began earlier may still be open and write rows, so only rows
    that are older than every open transaction match. SQLite executes one writing transaction after
    another, so all rows match.
    """
    if connection.dialect.name == "sqlite":
        return ()
    # The offset makes the ids of this cluster's transactions greater than those of an earlier
    # cluster from which the database was restored; see store/epochs.py.
    oldest_open = text(
        "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        " + coalesce((SELECT transaction_offset FROM epochs ORDER BY id DESC LIMIT 1), 0)"
    )
    return (table.c.transaction_id < oldest_open,)


def latest_position(connection: Connection, table: Table) -> Position:
    """Return the newest position in a table before which no further row can appear."""
    columns = position_columns(table)
    row = connection.execute(
        select(*columns)
        .where(*below_horizon(connection, table))
        .order_by(*(column.desc() for column in columns))
        .limit(1)
    ).first()
    return START if row is None else Position(*row)
