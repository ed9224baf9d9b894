"""One writer: operations that arrive while a commit runs share the next one."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ffrtmp_master.clock import Clock
from ffrtmp_master.store.transactions import Hooks, OpenTransaction, Operation, Transactions
from ffrtmp_master.store.unit_of_work import Effects, UnitOfWork

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LARGEST_BATCH = 128


class Request(Generic[T]):
    """An operation as data, whose answer is a T: what waits of these is applied together."""

    __slots__ = ()


Apply = Callable[[UnitOfWork, Sequence[Any]], list[Any]]
"""Applies requests together and gives an answer, or a refusal to be raised, for each."""


class WriterClosedError(Exception):
    """An operation came after the writer was closed."""


@dataclass(slots=True)
class _Pending(Generic[T]):
    operation: Any
    future: asyncio.Future[T]

    def resolve(self, answer: Any) -> None:
        """Give the caller, if it still waits, its answer; one that is an exception is raised."""
        if self.future.done():
            return
        if isinstance(answer, Exception):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


_Batch = Sequence[_Pending[Any]]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of operations that shared a transaction; no effects: nothing was committed."""

    batch: _Batch
    answers: Sequence[Any]
    effects: Effects | None


_Deed = Callable[[], list[_Outcome]]


class Writer:
    """Writes one transaction after another and answers each operation after its commit.

    Requests, which are data, are applied together and committed together; no delay is added to
    fill a batch: it is what queued up while the last one was written. When that fails, the batch
    is rolled back and each request is applied alone, so that one caller's error is nobody else's.
    Any other operation has a transaction of its own.

    What waits is done in a thread: every commit, and all that a database server is asked. Requests
    to a file are applied in the event loop's own thread, since that waits for nothing: two threads
    that both run Python hand each other its lock at every statement, which cost more than the
    statements.
    """

    def __init__(
        self, engine: Engine, clock: Clock, apply: Apply, watch: Hooks, origin: str = ""
    ) -> None:
        """Prepare to write through `engine`; `clock` tells each transaction its moment.

        `origin` names this master to others that share the database.
        """
        self._transactions = Transactions(engine, clock, watch, origin)
        self._is_file = engine.dialect.name == "sqlite"
        self._apply = apply
        self._watch = watch
        self._requests: deque[_Pending[Any]] = deque()
        self._operations: deque[_Pending[Any]] = deque()
        # Whether a transaction is under way or about to be, and whether requests had their turn.
        self._is_busy = False
        self._were_requests = False
        self._is_closed = True
        self._became_idle = asyncio.Event()
        self._deeds: SimpleQueue[_Deed | None] = SimpleQueue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take operations while the context lasts, and end once all of them are done."""
        thread = threading.Thread(
            target=self._work, args=(asyncio.get_running_loop(),), name="writer"
        )
        thread.start()
        self._is_closed = False
        try:
            yield
        finally:
            self._is_closed = True
            if self._is_busy:
                self._became_idle.clear()
                await self._became_idle.wait()
            self._deeds.put(None)
            await asyncio.to_thread(thread.join)

    async def write(self, operation: Operation[T]) -> T:
        """Run `operation` and return its value once it is durable; raises what it raises."""
        value: T = await self._submit(operation, self._operations)
        return value

    def apply_request(self, request: Request[T]) -> asyncio.Future[T]:
        """Apply `request`; the future has its answer once it is durable, or its refusal."""
        return self._submit(request, self._requests)

    def _submit(self, operation: Any, line: deque[_Pending[Any]]) -> asyncio.Future[Any]:
        if self._is_closed:
            raise WriterClosedError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        line.append(_Pending(operation, future))
        if not self._is_busy:
            self._is_busy = True
            # Not at once: what arrives in this turn of the loop shares the transaction.
            loop.call_soon(self._begin_next)
        return future

    # --- in the event loop ---

    def _begin_next(self) -> None:
        """Begin the next transaction; requests and other operations take turns."""
        if self._requests and not (self._were_requests and self._operations):
            self._were_requests = True
            self._begin_batch(_wanted(self._requests, _LARGEST_BATCH))
        elif self._operations:
            self._were_requests = False
            batch = _wanted(self._operations, 1)
            self._deeds.put(partial(self._run_alone, batch))
        else:
            self._is_busy = False
            self._became_idle.set()

    def _begin_batch(self, batch: _Batch) -> None:
        begun = None
        if self._is_file and batch:
            begun = self._transactions.try_begin(self._applying(batch), len(batch))
        if begun is None:
            self._deeds.put(partial(self._apply_together, batch))
        else:
            self._deeds.put(partial(self._commit, batch, begun))

    def _end(self, outcomes: Sequence[_Outcome]) -> None:
        """Tell all callers of a transaction at once, and begin the next."""
        for outcome in outcomes:
            if outcome.effects is not None:
                self._watch.committed(outcome.effects)
            for pending, answer in zip(outcome.batch, outcome.answers, strict=True):
                pending.resolve(answer)
        # Not at once, as above: who was answered may ask for more.
        asyncio.get_running_loop().call_soon(self._begin_next)

    # --- in the thread ---

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (deed := self._deeds.get()) is not None:
            outcomes = deed()
            try:
                loop.call_soon_threadsafe(self._end, outcomes)
            except RuntimeError:
                _log.warning("the event loop closed before its callers were answered")
        self._transactions.close()

    def _commit(self, batch: _Batch, begun: OpenTransaction[list[Any]]) -> list[_Outcome]:
        try:
            self._transactions.commit(begun)
        except SQLAlchemyError as error:
            return self._repeat(batch, error)
        return [_Outcome(batch, begun.value, begun.effects)]

    def _apply_together(self, batch: _Batch) -> list[_Outcome]:
        if not batch:
            return []
        try:
            answers, effects = self._transactions.run(
                self._applying(batch), len(batch), pipelined=True
            )
        # Whatever a request raises belongs to its caller: the thread hands it over.
        except Exception as error:
            if len(batch) == 1 or self._transactions.is_in_doubt(error):
                return [_Outcome(batch, [error] * len(batch), None)]
            return self._repeat(batch, error)
        return [_Outcome(batch, answers, effects)]

    def _repeat(self, batch: _Batch, error: Exception) -> list[_Outcome]:
        """Apply each request alone: one of them, or what they are together, fails."""
        _log.warning("a batch of %d is repeated one by one: %s", len(batch), error)
        return [outcome for pending in batch for outcome in self._apply_together([pending])]

    def _run_alone(self, batch: _Batch) -> list[_Outcome]:
        if not batch:
            return []
        try:
            value, effects = self._transactions.run(batch[0].operation, 1)
        # As above.
        except Exception as error:
            return [_Outcome(batch, [error], None)]
        return [_Outcome(batch, [value], effects)]

    def _applying(self, batch: _Batch) -> Operation[list[Any]]:
        return lambda work: self._apply(work, [pending.operation for pending in batch])


def _wanted(line: deque[_Pending[Any]], most: int) -> _Batch:
    """Take the first from a line; whoever gave up waiting (hung up) wants nothing any more."""
    batch: list[_Pending[Any]] = []
    while line and len(batch) < most:
        pending = line.popleft()
        if not pending.future.cancelled():
            batch.append(pending)
    return batch
