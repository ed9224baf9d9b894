"""Reading on from a place without missing what is written at the same time."""

from sqlalchemy import ColumnElement, Connection, Table, text


def below_horizon(connection: Connection, table: Table) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of rows before which no other can appear any more.

    On PostgreSQL a transaction that began earlier may still write: only what is older than every
    open one is settled. SQLite writes one transaction after another, so that all are.
    """
    if connection.dialect.name == "sqlite":
        return ()
    oldest_open = text("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return (table.c.transaction_id < oldest_open,)
