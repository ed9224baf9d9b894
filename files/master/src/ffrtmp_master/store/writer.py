"""One writer: operations that arrive while a commit runs share the next one."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ffrtmp_master.clock import Clock
from ffrtmp_master.store.engine import translated_errors
from ffrtmp_master.store.work import Effects, Work

T = TypeVar("T")

Operation = Callable[[Work], T]
"""Reads and writes within its own transaction; raises what its caller is to see."""

_log = logging.getLogger(__name__)

_LARGEST_BATCH = 128
_TRIES = 3
# PostgreSQL's unique violation, deadlock, serialization failure and lock timeout.
_IN_THE_WAY = frozenset({"23505", "40P01", "40001", "55P03"})


class Request(Generic[T]):
    """An operation as data, whose answer is a T: what waits of these is applied together."""

    __slots__ = ()


Apply = Callable[[Work, Sequence[Any]], list[Any]]
"""Applies requests together and gives an answer, or a refusal to be raised, for each."""


class WriterClosedError(Exception):
    """An operation came after the writer was closed."""


@dataclass(slots=True)
class _Pending(Generic[T]):
    operation: Any
    is_request: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]
    value: T | None = None
    error: BaseException | None = None

    def resolve(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)  # type: ignore[arg-type]


@dataclass
class Watch:
    """Who hears of what the writer did.

    `committed` is called in the event loop with the effects of every transaction, before its
    callers are answered; `batch` in the writer's thread with the number of operations of a
    transaction and the seconds that it took; `rolled_back` there when one was undone.
    """

    committed: Callable[[Effects], None] = lambda _effects: None
    batch: Callable[[int, float], None] = lambda _operations, _duration_s: None
    rolled_back: Callable[[], None] = lambda: None


class Writer:
    """Runs operations in a thread of its own and answers each after its commit.

    Requests, which are data, are applied together and committed together; no delay is added to
    fill a batch: it is what queued up while the last one was written. When that fails, the batch
    is rolled back and each request is applied alone, so that one caller's error is nobody else's.
    Any other operation has a transaction of its own.
    """

    def __init__(
        self, engine: Engine, clock: Clock, apply: Apply, watch: Watch, origin: str = ""
    ) -> None:
        """Prepare to write through `engine`; `clock` tells each transaction its moment.

        `origin` names this master to others that share the database.
        """
        self._origin = origin
        self._engine = engine
        self._clock = clock
        self._apply = apply
        self._watch = watch
        self._queue: SimpleQueue[_Pending[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="writer")
        self._connection: Connection | None = None
        # Whether the present transaction is on a connection that served an earlier one, and
        # whether its commit was begun.
        self._is_kept = False
        self._is_committing = False
        self._closed = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Commit what is queued, then end the thread."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    async def write(self, operation: Operation[T]) -> T:
        """Run `operation` and return its value once it is durable; raises what it raises."""
        value: T = await self._submit(operation, is_request=False)
        return value

    def request(self, request: Request[T]) -> asyncio.Future[T]:
        """Apply `request`; the future has its answer once it is durable, or its refusal."""
        return self._submit(request, is_request=True)

    def _submit(self, operation: Any, *, is_request: bool) -> asyncio.Future[Any]:
        if self._closed:
            raise WriterClosedError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.put(_Pending(operation, is_request, loop, future))
        return future

    def _work(self) -> None:
        is_last = False
        while not is_last:
            batch, is_last = self._next_batch()
            requests = [pending for pending in batch if pending.is_request]
            if requests:
                self._apply_together(requests)
            for pending in batch:
                if not pending.is_request:
                    self._run_alone(pending)
        if self._connection is not None:
            self._connection.close()

    def _next_batch(self) -> tuple[list[_Pending[Any]], bool]:
        """Wait for work; return it, and whether it is the last."""
        batch: list[_Pending[Any]] = []
        try:
            pending = self._queue.get()
            while pending is not None:
                # Whoever gave up waiting (a client that hung up) wants nothing done any more.
                if not pending.future.cancelled():
                    batch.append(pending)
                if len(batch) == _LARGEST_BATCH:
                    return batch, False
                pending = self._queue.get_nowait()
        except Empty:
            return batch, False
        return batch, True

    def _apply_together(self, batch: Sequence[_Pending[Any]]) -> None:
        def apply(work: Work) -> list[Any]:
            return self._apply(work, [pending.operation for pending in batch])

        try:
            answers, effects = self._transaction(apply, len(batch))
        # Whatever a request raises belongs to its caller: the thread hands it over.
        except Exception as error:
            if len(batch) == 1 or self._is_in_doubt(error):
                for pending in batch:
                    pending.error = error
                _answer(batch, None)
                return
            _log.warning("a batch of %d is repeated one by one: %s", len(batch), error)
            for pending in batch:
                self._apply_together([pending])
            return
        for pending, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                pending.error = answer
            else:
                pending.value = answer
        _answer(batch, lambda: self._watch.committed(effects))

    def _run_alone(self, pending: _Pending[Any]) -> None:
        try:
            pending.value, effects = self._transaction(pending.operation, 1)
        # As above.
        except Exception as error:
            pending.error = error
            _answer([pending], None)
            return
        _answer([pending], lambda: self._watch.committed(effects))

    def _transaction(self, operation: Operation[T], operations: int) -> tuple[T, Effects]:
        """Run an operation in a transaction.

        Again when another master was in the way, or when the connection had been lost since the
        last transaction: nothing was committed then.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._try(operation, operations)
            except DBAPIError as error:
                is_lost = error.connection_invalidated
                is_stale = is_lost and self._is_kept and not self._is_committing
                if not (is_stale or _may_pass(error)):
                    raise
                _log.info("a transaction is repeated: %s", error.orig)
        return self._try(operation, operations)

    def _try(self, operation: Operation[T], operations: int) -> tuple[T, Effects]:
        start = time.monotonic()
        self._is_kept = self._connection is not None
        self._is_committing = False
        try:
            connection = self._connected()
            with translated_errors(connection), connection.begin():
                work = Work(connection, self._clock(), self._origin)
                value = operation(work)
                work.flush()
                work.announce()
                self._is_committing = True
        except Exception as error:
            self._watch.rolled_back()
            if isinstance(error, SQLAlchemyError):
                self._drop_connection()
            raise
        self._watch.batch(operations, time.monotonic() - start)
        return value, work.effects

    def _is_in_doubt(self, error: Exception) -> bool:
        """Return whether the server may have committed: what is repeated could be done twice."""
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        return is_lost and self._is_committing

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


def _answer(batch: Sequence[_Pending[Any]], first: Callable[[], None] | None) -> None:
    """Tell all callers of a batch at once, after `first`."""

    def resolve_all() -> None:
        if first is not None:
            first()
        for pending in batch:
            pending.resolve()

    try:
        batch[0].loop.call_soon_threadsafe(resolve_all)
    except RuntimeError:
        _log.warning("the event loop closed before %d callers were answered", len(batch))
