"""The writer of the database. Requests that arrive during a commit share the next transaction."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop
from sqlalchemy import Engine

from ffrtmp_master.clock import Clock
from ffrtmp_master.store.availability import WriterClosedError
from ffrtmp_master.store.transactions import Hooks, OpenTransaction, Operation, Transactions
from ffrtmp_master.store.unit_of_work import Effects, UnitOfWork

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LARGEST_BATCH = 128
# The longest time in seconds for which the thread waits for work before it reports that it runs.
_IDLE_S = 1.0
# A transaction may wait for the locks of several others, each of which may take ten seconds.
_STALE_AFTER_S = 120.0


class Request(Generic[T]):
    """A request as data, whose response has type T. Waiting requests are applied together."""

    __slots__ = ()


Apply = Callable[[UnitOfWork, Sequence[Any]], list[Any]]
"""A function that applies requests and returns a response, or an exception to raise, for each."""


@dataclass(slots=True)
class _Pending(Generic[T]):
    operation: Any
    future: asyncio.Future[T]

    def resolve(self, response: Any) -> None:
        """Set the response, or the exception, unless the caller stopped waiting."""
        if self.future.done():
            return
        if isinstance(response, Exception):
            self.future.set_exception(response)
        else:
            self.future.set_result(response)


_Batch = Sequence[_Pending[Any]]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The responses to the operations of a transaction. Without a commit, `effects` is None."""

    batch: _Batch
    responses: Sequence[Any]
    effects: Effects | None


_Step = Callable[[], list[_Outcome]]


class Writer:
    """Writes one transaction after another and responds to each operation after its commit.

    Requests are data, and are applied and committed in batches. A batch consists of the requests
    that arrived while the previous transaction was written; no delay is added to fill it. If a
    batch fails, it is rolled back and each request is applied alone, so that the error of one
    caller does not affect the others. Any other operation has a separate transaction.

    Steps that block run in a thread: every commit, and all statements for a database server.
    Requests for an SQLite file are applied in the thread of the event loop, because they do not
    block. In a separate thread, handing over the global interpreter lock at every statement would
    cost more than the statements themselves.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        apply: Apply,
        watch: Hooks,
        *,
        loops: LoopRegistry,
        origin: str = "",
    ) -> None:
        """Create a writer that is not running yet.

        Args:
            engine: The engine to write with.
            clock: Returns the time of each transaction.
            apply: Applies a batch of requests.
            watch: The callbacks for transactions.
            loops: The registry of the master's loops.
            origin: The name of this master in notifications.
        """
        self._transactions = Transactions(engine, clock, watch, origin)
        self._is_file = engine.dialect.name == "sqlite"
        self._apply = apply
        self._watch = watch
        self._requests: deque[_Pending[Any]] = deque()
        self._operations: deque[_Pending[Any]] = deque()
        # Whether a transaction is running or scheduled, and whether the last one was a batch of
        # requests.
        self._is_busy = False
        self._were_requests = False
        self._is_closed = True
        self._became_idle = asyncio.Event()
        self._steps: SimpleQueue[tuple[_Batch, _Step] | None] = SimpleQueue()
        self._status = loops.add("writer", stale_after_s=_STALE_AFTER_S, is_essential=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept operations within the context. At its end, wait until all of them are done."""
        thread = ThreadLoop(
            self._status,
            partial(self._run_next, asyncio.get_running_loop()),
            Pacing(interval_s=0.0),
        )
        thread.start(is_daemon=False)
        self._is_closed = False
        try:
            yield
        finally:
            self._is_closed = True
            if self._is_busy:
                self._became_idle.clear()
                await self._became_idle.wait()
            self._steps.put(None)
            await asyncio.to_thread(thread.join)
            await asyncio.to_thread(self._transactions.close)

    async def write(self, operation: Operation[T]) -> T:
        """Run `operation` and return its value after the commit. Raises its exceptions."""
        value: T = await self._submit(operation, self._operations)
        return value

    def apply_request(self, request: Request[T]) -> asyncio.Future[T]:
        """Schedule `request`. The future gets the response after the commit, or an exception."""
        return self._submit(request, self._requests)

    def _submit(self, operation: Any, queue: deque[_Pending[Any]]) -> asyncio.Future[Any]:
        if self._is_closed:
            raise WriterClosedError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        queue.append(_Pending(operation, future))
        if not self._is_busy:
            self._is_busy = True
            # The transaction begins later, so that all requests that arrive in this iteration of
            # the event loop share it.
            loop.call_soon(self._begin_next)
        return future

    # --- Methods that run in the event loop ---

    def _begin_next(self) -> None:
        """Begin the next transaction. Batches of requests alternate with other operations."""
        if self._requests and not (self._were_requests and self._operations):
            self._were_requests = True
            self._begin_batch(_next_batch(self._requests, _LARGEST_BATCH))
        elif self._operations:
            self._were_requests = False
            batch = _next_batch(self._operations, 1)
            self._steps.put((batch, partial(self._run_alone, batch)))
        else:
            self._is_busy = False
            self._became_idle.set()

    def _begin_batch(self, batch: _Batch) -> None:
        opened = None
        if self._is_file and batch:
            opened = self._transactions.try_begin(self._applying(batch), len(batch))
        if opened is None:
            self._steps.put((batch, partial(self._apply_together, batch)))
        else:
            self._steps.put((batch, partial(self._commit, batch, opened)))

    def _end(self, outcomes: Sequence[_Outcome]) -> None:
        """Resolve the futures of all callers of a transaction, and schedule the next one."""
        for outcome in outcomes:
            if outcome.effects is not None:
                self._report_commit(outcome.effects)
            for pending, response in zip(outcome.batch, outcome.responses, strict=True):
                pending.resolve(response)
        # The next transaction begins later, so that further requests of the same callers share it.
        asyncio.get_running_loop().call_soon(self._begin_next)

    def _report_commit(self, effects: Effects) -> None:
        """Call the callback for a commit. Its error must not keep the response from the callers."""
        try:
            self._watch.committed(effects)
        # The transaction is committed, and all later ones depend on this method.
        except Exception:
            self._status.fail()
            _log.exception("the effects of a transaction were not reported")

    # --- Methods that run in the thread ---

    def _run_next(self, loop: asyncio.AbstractEventLoop) -> AfterPass:
        """Run the next step, if there is one soon, and return its outcomes to the event loop."""
        try:
            found = self._steps.get(timeout=_IDLE_S)
        except Empty:
            return AfterPass.REPEAT
        if found is None:
            return AfterPass.END
        batch, step = found
        try:
            outcomes = step()
        # Whatever happens, the callers get a response and the next transaction begins.
        except Exception as error:
            self._status.fail()
            _log.exception("a transaction failed unexpectedly")
            self._transactions.close()
            outcomes = [_Outcome(batch, [error] * len(batch), None)]
        try:
            loop.call_soon_threadsafe(self._end, outcomes)
        except RuntimeError:
            _log.warning("the event loop was closed before all callers received a response")
        return AfterPass.REPEAT

    def _commit(self, batch: _Batch, opened: OpenTransaction[list[Any]]) -> list[_Outcome]:
        try:
            self._transactions.commit(opened)
        # Any exception of a request is raised to its caller, when the request is repeated.
        except Exception as error:
            return self._repeat(batch, error)
        return [_Outcome(batch, opened.value, opened.effects)]

    def _apply_together(self, batch: _Batch) -> list[_Outcome]:
        if not batch:
            return []
        try:
            responses, effects = self._transactions.run(
                self._applying(batch), len(batch), pipelined=True
            )
        # Any exception of a request is raised to its caller.
        except Exception as error:
            if len(batch) == 1 or self._transactions.is_in_doubt(error):
                return [_Outcome(batch, [error] * len(batch), None)]
            return self._repeat(batch, error)
        return [_Outcome(batch, responses, effects)]

    def _repeat(self, batch: _Batch, error: Exception) -> list[_Outcome]:
        """Apply each request of a failed batch alone."""
        _log.warning(
            "a batch of %d requests failed and is repeated one by one: %s", len(batch), error
        )
        return [outcome for pending in batch for outcome in self._apply_together([pending])]

    def _run_alone(self, batch: _Batch) -> list[_Outcome]:
        if not batch:
            return []
        try:
            value, effects = self._transactions.run(batch[0].operation, 1)
        # Any exception of the operation is raised to its caller.
        except Exception as error:
            return [_Outcome(batch, [error], None)]
        return [_Outcome(batch, [value], effects)]

    def _applying(self, batch: _Batch) -> Operation[list[Any]]:
        return lambda work: self._apply(work, [pending.operation for pending in batch])


def _next_batch(queue: deque[_Pending[Any]], limit: int) -> _Batch:
    """Remove up to `limit` operations from a queue and return them. Canceled ones are dropped."""
    batch: list[_Pending[Any]] = []
    while queue and len(batch) < limit:
        pending = queue.popleft()
        if not pending.future.cancelled():
            batch.append(pending)
    return batch
