"""The read horizon: how to page through rows without missing concurrently written ones."""

from sqlalchemy import ColumnElement, Connection, Table, text


def below_horizon(connection: Connection, table: Table) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of rows before which no other row can appear any more.

    On PostgreSQL an open transaction that began earlier may still write, so only rows older than
    every open transaction match. SQLite writes one transaction after another, so all rows match.
    """
    if connection.dialect.name == "sqlite":
        return ()
    oldest_open = text("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return (table.c.transaction_id < oldest_open,)
