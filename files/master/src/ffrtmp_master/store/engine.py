"""Database engines, configured so that commits are durable and readers never block."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from ffrtmp_master.store.types import from_json, to_json

_SET_BUSY_TIMEOUT = "PRAGMA busy_timeout = 10000"
_CONNECT_TIMEOUT_S = 5
# The time without a reply from the network after which a server counts as unreachable.
_TCP_TIMEOUT_MS = 10_000
_LOCK_TIMEOUT_MS = 10_000


def writing_engine(url: str, password: str | None = None) -> Engine:
    """Return an engine for the single writer of a process."""
    if url.startswith("sqlite"):
        # The write lock is taken at once, because two writers that upgraded read locks would
        # conflict.
        return _sqlite(url, begin="BEGIN IMMEDIATE", read_only=False)
    return _postgresql(url, password, f"-c lock_timeout={_LOCK_TIMEOUT_MS}")


def reading_engine(url: str, password: str | None = None) -> Engine:
    """Return an engine with read-only connections. Each transaction reads one snapshot."""
    if url.startswith("sqlite"):
        return _sqlite(url, begin="BEGIN", read_only=True)
    engine = _postgresql(url, password, pool_pre_ping=True)

    # These are not options of the connection, because libpq would then take the server for a
    # replica, to which it does not connect with target_session_attrs=read-write.
    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET default_transaction_isolation = 'repeatable read'")
        connection.commit()

    return engine


def close_connections(engine: Engine) -> None:
    """Close the idle connections of an engine now, and those in use when they are returned.

    The engine can still be used; it opens other connections.
    """
    former = engine.pool
    engine.dispose()
    event.listen(former, "checkin", _close_returned)
    # Connections may have been returned before the listener was added.
    former.dispose()


def encoding_problem(connection: Connection) -> str | None:
    """Return why the encoding of a database is not accepted, or None."""
    if connection.dialect.name == "sqlite":
        return None
    found = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if found == "UTF8":
        return None
    return (
        f"the database has the encoding {found}, which cannot store all texts; create a database "
        "with the encoding UTF8 (createdb --encoding=UTF8 --template=template0)"
    )


@contextmanager
def translated_errors(connection: Connection) -> Iterator[None]:
    """Raise errors of the driver as SQLAlchemy errors.

    SQLAlchemy itself does this only for statements that it runs.
    """
    dialect = connection.dialect
    driver = connection.connection.driver_connection
    try:
        yield
    except dialect.loaded_dbapi.Error as error:
        is_lost = dialect.is_disconnect(error, driver, None)
        raise DBAPIError.instance(
            None,
            None,
            error,
            dialect.loaded_dbapi.Error,
            connection_invalidated=is_lost,
            dialect=dialect,
        ) from error


def begin_at_once(connection: Connection) -> RootTransaction | None:
    """Begin a transaction on an SQLite file; return None if another process is writing to it."""
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        return connection.begin()
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise
        return None
    finally:
        driver.execute(_SET_BUSY_TIMEOUT)


def pipeline(connection: Connection) -> AbstractContextManager[Any]:
    """Return a context in which statements are sent without waiting for earlier results.

    This has an effect on PostgreSQL only; SQLite has no round trips.
    """
    if connection.dialect.name == "sqlite":
        return nullcontext()
    driver: Any = connection.connection.driver_connection
    context: AbstractContextManager[Any] = driver.pipeline()
    return context


def psycopg_parameters(url: str, password: str | None) -> dict[str, Any]:
    """Return the arguments of `psycopg.connect` for the database at `url`."""
    return {"conninfo": url, **_connect_args(url, password, "")}


def _close_returned(_: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.invalidate()


def _sqlite(url: str, *, begin: str, read_only: bool) -> Engine:
    engine = create_engine(
        url,
        json_serializer=to_json,
        json_deserializer=from_json,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions implicitly. The event "begin" below begins them.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(_SET_BUSY_TIMEOUT)
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


def _postgresql(url: str, password: str | None, options: str = "", **engine_options: Any) -> Engine:
    return create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        json_serializer=to_json,
        json_deserializer=from_json,
        connect_args=_connect_args(url, password, options),
        **engine_options,
    )


def _connect_args(url: str, password: str | None, options: str) -> dict[str, Any]:
    # Options in the URL come first, so that they cannot change what the master needs.
    given = make_url(url).query.get("options", "")
    own = f"-c timezone=UTC -c DateStyle=ISO {options}"
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": _TCP_TIMEOUT_MS,
        "options": f"{given if isinstance(given, str) else ' '.join(given)} {own}".strip(),
        "client_encoding": "UTF8",
    }
    # The password is never part of the URL, because error messages contain the URL.
    return arguments if password is None else {**arguments, "password": password}
