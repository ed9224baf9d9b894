"""Connections to the database, set up so that a commit is durable and readers never block."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from ffrtmp_master.store.types import from_json, to_json

_BUSY_TIMEOUT_MS = 10_000


def writing_engine(url: str) -> Engine:
    """Return an engine whose transactions hold the write lock from their first moment."""
    return _engine(url, begin="BEGIN IMMEDIATE", read_only=False)


def reading_engine(url: str) -> Engine:
    """Return an engine whose connections cannot write."""
    return _engine(url, begin="BEGIN", read_only=True)


def _engine(url: str, *, begin: str, read_only: bool) -> Engine:
    engine = create_engine(
        url,
        json_serializer=to_json,
        json_deserializer=from_json,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        # The driver would otherwise begin transactions when it sees fit; see "begin" below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
