"""Transactions, one after another on one connection that is kept."""

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ffrtmp_master.clock import Clock
from ffrtmp_master.store.engine import begin_at_once, pipeline, translated_errors
from ffrtmp_master.store.unit_of_work import Effects, UnitOfWork

T = TypeVar("T")

Operation = Callable[[UnitOfWork], T]
"""Reads and writes within its own transaction; raises what its caller is to see."""

_log = logging.getLogger(__name__)

_TRIES = 3
# PostgreSQL's unique violation, deadlock, serialization failure and lock timeout.
_IN_THE_WAY = frozenset({"23505", "40P01", "40001", "55P03"})


@dataclass
class Hooks:
    """Who hears of what is written.

    `committed` is called in the event loop with the effects of every transaction, before its
    callers are answered; `batch`, in whichever thread it was, with the number of operations of a
    transaction and the seconds that it took; `rolled_back` there when one was undone.
    """

    committed: Callable[[Effects], None] = lambda _effects: None
    batch: Callable[[int, float], None] = lambda _operations, _duration_s: None
    rolled_back: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class OpenTransaction(Generic[T]):
    """An operation that was run and is not committed; its value, and what follows from it."""

    transaction: RootTransaction
    value: T
    effects: Effects
    operations: int
    start_s: float


class Transactions:
    """Runs operations in transactions; for one thread at a time."""

    def __init__(self, engine: Engine, clock: Clock, watch: Hooks, origin: str) -> None:
        """Use `engine`; `clock` tells each transaction its moment, `origin` names this master."""
        self._engine = engine
        self._clock = clock
        self._watch = watch
        self._origin = origin
        self._connection: Connection | None = None
        # Whether the present transaction is on a connection that served an earlier one, and
        # whether its commit was begun.
        self._is_kept = False
        self._is_committing = False

    def run(
        self, operation: Operation[T], operations: int, *, pipelined: bool = False
    ) -> tuple[T, Effects]:
        """Run an operation, which stands for so many, and commit.

        When `pipelined`, a server is not waited for after each statement: one that fails may show
        at a later one, so that the operation cannot go on from an error.

        Again when another master was in the way, or when the connection had been lost since the
        last transaction: nothing was committed then.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._try(operation, operations, pipelined)
            except DBAPIError as error:
                is_lost = error.connection_invalidated
                is_stale = is_lost and self._is_kept and not self._is_committing
                if not (is_stale or _may_pass(error)):
                    raise
                _log.info("a transaction is repeated: %s", error.orig)
        return self._try(operation, operations, pipelined)

    def try_begin(self, operation: Operation[T], operations: int) -> OpenTransaction[T] | None:
        """Run an operation on SQLite without waiting for anybody, up to its commit.

        None when somebody else writes, or when it failed: nothing of it is left then, and `run`
        can be asked for the same, which waits and raises.
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
        # What is wrong shows when it is run again.
        except Exception as error:
            _log.info("a transaction is repeated: %s", error)
            self._undo()
            return None
        return OpenTransaction(transaction, value, work.effects, operations, start_s)

    def commit(self, begun: OpenTransaction[T]) -> None:
        """Make an operation durable; raises SQLAlchemyError when nothing of it is left."""
        try:
            begun.transaction.commit()
        except SQLAlchemyError:
            self._undo()
            raise
        self._watch.batch(begun.operations, time.monotonic() - begun.start_s)

    def is_in_doubt(self, error: Exception) -> bool:
        """Return whether the server may have committed: what is repeated could be done twice."""
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        return is_lost and self._is_committing

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, operation: Operation[T], operations: int, pipelined: bool) -> tuple[T, Effects]:
        start_s = time.monotonic()
        self._is_kept = self._connection is not None
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
            self._watch.rolled_back()
            if isinstance(error, SQLAlchemyError):
                self._drop_connection()
            raise
        self._watch.batch(operations, time.monotonic() - start_s)
        return value, work.effects

    def _undo(self) -> None:
        self._watch.rolled_back()
        self._drop_connection()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _drop_connection(self) -> None:
        """Forget a connection that failed; the next transaction makes a new one.

        Its server may be gone, and after an error one cannot say whether it will be of use again.
        """
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _may_pass(error: DBAPIError) -> bool:
    """Return whether the same could succeed now: another master's transaction was first."""
    state = getattr(error.orig, "sqlstate", None)
    return state in _IN_THE_WAY
