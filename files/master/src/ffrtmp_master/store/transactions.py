"""Transactions, executed one after another on a persistent connection."""

import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ffrtmp_master.clock import Clock
from ffrtmp_master.store.availability import is_read_only
from ffrtmp_master.store.engine import begin_at_once, pipeline, translated_errors
from ffrtmp_master.store.unit_of_work import Effects, UnitOfWork

T = TypeVar("T")

Operation = Callable[[UnitOfWork], T]
"""A function that reads and writes in a transaction. Its exceptions are raised to the caller."""

_log = logging.getLogger(__name__)

_MAX_TRIES = 3
# A row that a new row refers to does not exist. Another master may just have removed it.
_MISSING_REFERENCE = "23503"
# The SQLSTATE codes for unique violation, deadlock, serialization failure and lock timeout.
_TRANSIENT_SQLSTATES = frozenset({"23505", "40P01", "40001", "55P03"})


@dataclass
class Hooks:
    """Callbacks for transactions.

    Attributes:
        committed: Called in the event loop after every commit, with the effects of the transaction,
            before its callers get their responses.
        batch: Called in the thread of the transaction after every commit, with the number of
            operations and the duration of the transaction in seconds.
        rolled_back: Called in the thread of the transaction after a rollback, with the error.
        connected: Called with each new connection, before the first transaction on it, and with
            whether it is the first connection.
        read_only: Called in the thread of the transaction after the database has refused a write
            because it is read-only.
    """

    committed: Callable[[Effects], None] = lambda _effects: None
    batch: Callable[[int, float], None] = lambda _operations, _duration_s: None
    rolled_back: Callable[[Exception], None] = lambda _error: None
    connected: Callable[[Connection, bool], None] = lambda _connection, _is_first: None
    read_only: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class OpenTransaction(Generic[T]):
    """A transaction whose operation has run but which is not committed yet."""

    transaction: RootTransaction
    value: T
    effects: Effects
    operations: int
    start_s: float


class Transactions:
    """Runs operations in transactions. Only one thread at a time may use an object."""

    def __init__(self, engine: Engine, clock: Clock, watch: Hooks, origin: str) -> None:
        """Create an object without a connection.

        Args:
            engine: The engine to connect with.
            clock: Returns the time of each transaction.
            watch: The callbacks.
            origin: The name of this master in notifications.
        """
        self._engine = engine
        self._clock = clock
        self._watch = watch
        self._origin = origin
        self._connection: Connection | None = None
        # Whether the current transaction uses the connection of an earlier one, and whether its
        # commit has begun.
        self._is_reused = False
        self._is_committing = False
        self._has_connected = False

    def run(
        self, operation: Operation[T], operations: int, *, pipelined: bool = False
    ) -> tuple[T, Effects]:
        """Run an operation and commit.

        The transaction is repeated after a conflict with another master, or if the connection was
        lost since the last transaction. In both cases nothing was committed.

        Args:
            operation: The operation.
            operations: The number of requests that the operation handles, for the callbacks.
            pipelined: Whether to send statements without waiting for their results. An error may
                then be raised by a later statement, so the operation cannot handle errors.

        Returns:
            The value of the operation, and the effects of the transaction.
        """
        for _ in range(_MAX_TRIES - 1):
            try:
                return self._try(operation, operations, pipelined)
            except DBAPIError as error:
                is_lost = error.connection_invalidated
                is_stale = is_lost and self._is_reused and not self._is_committing
                if not (is_stale or _is_transient(error)):
                    raise
                _log.info("a transaction is repeated: %s", error.orig)
        return self._try(operation, operations, pipelined)

    def try_begin(self, operation: Operation[T], operations: int) -> OpenTransaction[T] | None:
        """Run an operation in a transaction on SQLite, but do not commit it or wait for locks.

        Args:
            operation: The operation.
            operations: The number of requests that the operation handles, for the callbacks.

        Returns:
            The open transaction, or None if another process is writing or the operation failed. In
            these cases, nothing was changed, and the caller should use `run`, which waits for locks
            and raises errors.
        """
        start_s = time.monotonic()
        try:
            connection = self._connected()
            transaction = begin_at_once(connection)
            if transaction is None:
                return None
            work = UnitOfWork(connection, self._clock(), self._origin)
            value = operation(work)
            work.flush()
        # The caller repeats the operation with `run`, which raises the error.
        except Exception as error:
            _log.info("a transaction is repeated: %s", error)
            self._undo(error)
            return None
        return OpenTransaction(transaction, value, work.effects, operations, start_s)

    def commit(self, opened: OpenTransaction[T]) -> None:
        """Commit an open transaction. If this fails, roll it back and raise the error."""
        try:
            opened.transaction.commit()
        except Exception as error:
            self._undo(error)
            raise
        self._report_batch(opened.operations, time.monotonic() - opened.start_s)

    def is_in_doubt(self, error: Exception) -> bool:
        """Return whether the server may have committed despite `error`, so a retry is not safe."""
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        return is_lost and self._is_committing

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, operation: Operation[T], operations: int, pipelined: bool) -> tuple[T, Effects]:
        start_s = time.monotonic()
        self._is_reused = self._connection is not None
        self._is_committing = False
        try:
            connection = self._connected()
            with translated_errors(connection), connection.begin():
                work = UnitOfWork(connection, self._clock(), self._origin)
                with pipeline(connection) if pipelined else nullcontext():
                    value = operation(work)
                    work.flush()
                    work.notify_peers()
                self._is_committing = True
        except Exception as error:
            self._watch.rolled_back(error)
            if isinstance(error, SQLAlchemyError):
                self._drop_connection()
            if is_read_only(error):
                # The server may have been the primary before a failover. All connections are
                # opened again, so that they reach the present primary.
                self._watch.read_only()
            raise
        self._report_batch(operations, time.monotonic() - start_s)
        return value, work.effects

    def _report_batch(self, operations: int, duration_s: float) -> None:
        """Call the callback for a commit. Its error must not look like one of the transaction."""
        try:
            self._watch.batch(operations, duration_s)
        # The transaction is committed. Its caller must not repeat it.
        except Exception:
            _log.exception("the duration of a transaction was not recorded")

    def _undo(self, error: Exception) -> None:
        self._watch.rolled_back(error)
        self._drop_connection()

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = self._engine.connect()
            try:
                self._watch.connected(connection, not self._has_connected)
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
            self._connection, self._has_connected = connection, True
        return self._connection

    def _drop_connection(self) -> None:
        """Close a connection after an error; the next transaction opens a new one.

        The server may be unreachable, and the state of the connection is unknown after an error.
        """
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def has_missing_reference(error: Exception) -> bool:
    """Return whether a transaction failed because a row that it refers to was removed."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    return (
        getattr(cause, "sqlstate", None) == _MISSING_REFERENCE
        or getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
    )


def _is_transient(error: DBAPIError) -> bool:
    """Return whether another master caused the error, so that a retry may succeed."""
    if has_missing_reference(error):
        return True
    sqlstate = getattr(error.orig, "sqlstate", None)
    return sqlstate in _TRANSIENT_SQLSTATES
