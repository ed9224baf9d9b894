"""One writer: operations that arrive while a commit runs share the next one."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")

Operation = Callable[[Connection], T]
"""Reads and writes within the transaction that it is given.

It may run twice, when a neighbour in its batch failed: it changes nothing but the database.
"""

_log = logging.getLogger(__name__)

_LARGEST_BATCH = 128


class WriterClosedError(Exception):
    """An operation came after the writer was closed."""


@dataclass
class _Pending(Generic[T]):
    operation: Operation[T]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]
    value: T | None = None
    error: BaseException | None = field(default=None)

    def resolve(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)  # type: ignore[arg-type]


class Writer:
    """Runs operations in a thread of its own, many to a commit, and answers after the commit.

    No delay is added to fill a batch: it is what queued up while the last one was written. When
    an operation raises, the batch is rolled back and each of its operations runs alone, so that
    one caller's error is nobody else's.
    """

    def __init__(self, engine: Engine, on_batch: Callable[[int], None] = lambda _: None) -> None:
        """Prepare to write through `engine`; `on_batch` hears the size of every batch."""
        self._engine = engine
        self._on_batch = on_batch
        self._queue: SimpleQueue[_Pending[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="writer")
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
        if self._closed:
            raise WriterClosedError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Pending(operation, loop, future))
        return await future

    def _work(self) -> None:
        with self._engine.connect() as connection:
            while True:
                batch, is_last = self._next_batch()
                if batch:
                    self._on_batch(len(batch))
                    self._commit(connection, batch)
                    _answer(batch)
                if is_last:
                    return

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

    def _commit(self, connection: Connection, batch: Sequence[_Pending[Any]]) -> None:
        try:
            with connection.begin():
                for pending in batch:
                    pending.value = pending.operation(connection)
        # Whatever an operation raises belongs to its caller: the thread hands it over.
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            _log.debug("a batch of %d is repeated one by one: %s", len(batch), error)
            for pending in batch:
                self._commit(connection, [pending])


def _answer(batch: Sequence[_Pending[Any]]) -> None:
    """Tell all callers of a batch at once."""

    def resolve_all() -> None:
        for pending in batch:
            pending.resolve()

    try:
        batch[0].loop.call_soon_threadsafe(resolve_all)
    except RuntimeError:
        _log.warning("the event loop closed before %d callers were answered", len(batch))
