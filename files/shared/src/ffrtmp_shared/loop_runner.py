"""The runner of periodic loops, as an asyncio task or as a thread.

A loop calls its step again and again until it is stopped. An exception of a step never ends the
loop: it is logged with the name of the loop and counted, and the step is called again after a pause
that grows with each successive failure.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto

from ffrtmp_shared.loop_registry import LoopStatus

_log = logging.getLogger(__name__)


class AfterPass(Enum):
    """The continuation of a loop after a pass."""

    PAUSE = auto()
    """Pause, then run the next pass. This is what a step that returns None requests."""
    REPEAT = auto()
    """Run the next pass immediately, because there is more to do."""
    END = auto()
    """End the loop. It may be started again."""


Step = Callable[[], AfterPass | None]
AsyncStep = Callable[[], Awaitable[AfterPass | None]]


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """The pauses of a loop, in seconds.

    Attributes:
        interval_s: The pause after a complete pass.
        is_first_delayed: Whether the first pass follows a pause. By default it is immediate.
        wakeup_pause_s: The part of the pause that a wake-up does not shorten.
        retry_pause_s: The pause after the first failure, unless the interval is longer. It doubles
            with each successive failure.
        retry_pause_max_s: The longest pause after a failure, unless the interval is longer.
    """

    interval_s: float
    is_first_delayed: bool = False
    wakeup_pause_s: float = 0.0
    retry_pause_s: float = 0.5
    retry_pause_max_s: float = 30.0

    def pause_after_failures_s(self, failures: int) -> float:
        """Return the pause after `failures` successive failures."""
        first_s = max(self.interval_s, self.retry_pause_s)
        # The exponent is limited, so that the power cannot overflow.
        grown_s = first_s * 2 ** min(failures - 1, 30)
        return float(min(grown_s, max(self.interval_s, self.retry_pause_max_s)))


class _PassRecord:
    """Records the outcome of each pass of one instance of a loop."""

    def __init__(
        self,
        status: LoopStatus,
        pacing: Pacing,
        expected: tuple[type[Exception], ...],
        context: Mapping[str, object] | None = None,
    ) -> None:
        self._status = status
        self._pacing = pacing
        self._expected = expected
        self._context = {**(context or {}), "loop": status.name}
        self._failures = 0

    def succeed(self) -> None:
        self._status.succeed()
        if self._failures:
            _log.info("loop %s works again", self._status.name)
            self._failures = 0

    def fail(self, error: Exception) -> float:
        """Count and log an exception. Return the pause before the next pass, in seconds."""
        self._status.fail()
        self._failures += 1
        pause_s = self._pacing.pause_after_failures_s(self._failures)
        is_expected = isinstance(error, self._expected)
        level = logging.WARNING if is_expected else logging.ERROR
        # Of a long series of failures, only the first, second, fourth and so on are reported, so
        # that a loop with short pauses does not flood the log.
        is_reported = self._failures & (self._failures - 1) == 0
        _log.log(
            level if is_reported else logging.DEBUG,
            "loop %s failed %d times in succession; retrying in %g s: %s",
            self._status.name,
            self._failures,
            pause_s,
            str(error) or type(error).__name__,
            exc_info=None if is_expected else error,
            extra=self._context,
        )
        return pause_s


class AsyncLoop:
    """A loop that runs as an asyncio task. Not thread-safe: use it in one event loop."""

    def __init__(
        self,
        status: LoopStatus,
        step: AsyncStep,
        pacing: Pacing,
        *,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        """Create a loop that is not running.

        Args:
            status: The record of the loop in the registry.
            step: The function that runs one pass.
            pacing: The pauses between passes.
            expected: Errors that are logged without a traceback, because their message is enough.
        """
        self._status = status
        self._step = step
        self._pacing = pacing
        self._record = _PassRecord(status, pacing, expected)
        self._wakeup = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Return whether the loop was started and has not ended."""
        return self._task is not None

    def start(self) -> None:
        """Start the loop unless it is running."""
        if self._task is None:
            self._wakeup.clear()
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._status.name)

    def wake(self) -> None:
        """End the current pause, or skip the next one. A pause after a failure is not shortened."""
        self._wakeup.set()

    def cancel(self) -> None:
        """End the loop soon, without waiting for it."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """End the loop, canceling a pass in progress, and wait until it has ended."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop for the duration of the context."""
        self.start()
        try:
            yield
        finally:
            await self.stop()

    async def _run(self) -> None:
        self._status.begin()
        try:
            if self._pacing.is_first_delayed:
                await self._pause()
            while await self._run_pass() is not AfterPass.END:
                pass
        finally:
            self._status.end()
            self._task = None

    async def _run_pass(self) -> AfterPass:
        """Run one pass and the pause after it."""
        try:
            wanted = await self._step() or AfterPass.PAUSE
        # Any other exception would end the loop, and with it the handling of everything else.
        except Exception as error:
            pause_s = self._record.fail(error)
        else:
            self._record.succeed()
            if wanted is AfterPass.PAUSE:
                await self._pause()
            elif wanted is AfterPass.REPEAT:
                await asyncio.sleep(0)
            # A loop ends without another await, so that a call of `start` after the decision of the
            # step to end the loop starts it again.
            return wanted
        await asyncio.sleep(pause_s)
        return AfterPass.PAUSE

    async def _pause(self) -> None:
        least_s = min(self._pacing.wakeup_pause_s, self._pacing.interval_s)
        await asyncio.sleep(least_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wakeup.wait(), self._pacing.interval_s - least_s)
        self._wakeup.clear()


class ThreadLoop:
    """A loop that runs in a thread: its own after `start`, or that of the caller of `run`."""

    def __init__(
        self,
        status: LoopStatus,
        step: Step,
        pacing: Pacing,
        *,
        stopped: threading.Event | None = None,
        expected: tuple[type[Exception], ...] = (),
        last_step: Callable[[], None] | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        """Create a loop that is not running.

        Args:
            status: The record of the loop in the registry.
            step: The function that runs one pass.
            pacing: The pauses between passes.
            stopped: The event that ends the loop when it is set. By default, only `stop` ends it.
            expected: Errors that are logged without a traceback, because their message is enough.
            last_step: A function that is called in the thread after the loop was stopped, but not
                if its step has ended it.
            context: Fields of the log records of failures, such as the job.
        """
        self._status = status
        self._step = step
        self._pacing = pacing
        self._record = _PassRecord(status, pacing, expected, context)
        self._last_step = last_step
        self._stopped = threading.Event() if stopped is None else stopped
        # An event of the caller does not end a wait for a wake-up, so such a loop has none.
        self._wakeup = threading.Event() if stopped is None else None
        self._thread: threading.Thread | None = None

    def start(self, *, is_daemon: bool = True) -> None:
        """Start the loop in a thread of its own, once.

        Args:
            is_daemon: Whether the process may end while the thread is running.
        """
        # Recorded here, so that the loop is known to run when this returns.
        self._status.begin()
        self._thread = threading.Thread(
            target=self._run_begun, name=self._status.name, daemon=is_daemon
        )
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """End the loop after the current pass and wait for its thread.

        Args:
            timeout_s: The longest time to wait for the thread, in seconds; None means any time.
        """
        self._stopped.set()
        if self._wakeup is not None:
            self._wakeup.set()
        self.join(timeout_s)

    def wake(self) -> None:
        """End the current pause, or skip the next one. A pause after a failure is not shortened.

        Raises RuntimeError if the loop was created with an event that ends it.
        """
        if self._wakeup is None:
            raise RuntimeError("a loop that an event of its owner ends has no wake-ups")
        self._wakeup.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait at most `timeout_s` seconds for the thread, if the loop was started."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def run(self) -> None:
        """Run the loop in the calling thread until it ends."""
        self._status.begin()
        self._run_begun()

    def _run_begun(self) -> None:
        try:
            if self._pacing.is_first_delayed:
                self._stopped.wait(self._pacing.interval_s)
            while not self._stopped.is_set():
                if self._run_pass() is AfterPass.END:
                    return
            self._run_last_step()
        finally:
            self._status.end()

    def _run_last_step(self) -> None:
        if self._last_step is None:
            return
        try:
            self._last_step()
        # The owner of the loop has stopped it and does not wait for its outcome.
        except Exception as error:
            self._record.fail(error)

    def _run_pass(self) -> AfterPass:
        """Run one pass and the pause after it."""
        try:
            wanted = self._step() or AfterPass.PAUSE
        # Any other exception would end the loop, and with it the handling of everything else.
        except Exception as error:
            self._stopped.wait(self._record.fail(error))
            return AfterPass.PAUSE
        self._record.succeed()
        if wanted is AfterPass.PAUSE:
            self._pause()
        return wanted

    def _pause(self) -> None:
        interval_s = self._pacing.interval_s
        if self._wakeup is None:
            self._stopped.wait(interval_s)
            return
        least_s = min(self._pacing.wakeup_pause_s, interval_s)
        if not self._stopped.wait(least_s):
            self._wakeup.wait(interval_s - least_s)
        self._wakeup.clear()
