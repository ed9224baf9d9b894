"""The read horizon: how to page through rows without missing concurrently written ones."""

from sqlalchemy import ColumnElement, Connection, Table, text


def below_horizon(connection: Connection, table: Table) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that select the rows before which no further row can appear.

    On PostgreSQL, a transaction that began earlier may still be open and write rows, so only rows
    that are older than every open transaction match. SQLite executes one writing transaction after
    another, so all rows match.
    """
    if connection.dialect.name == "sqlite":
        return ()
    oldest_open = text("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return (table.c.transaction_id < oldest_open,)
