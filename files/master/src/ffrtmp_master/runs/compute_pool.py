"""A pool of threads for long computations, separate from the threads that serve requests."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from ffrtmp_master.store.errors import BusyError

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 2
_RETRY_AFTER_S = 5


class ComputePool:
    """Runs a few computations at the same time, and refuses further ones if too many wait."""

    def __init__(self, at_once_max: int) -> None:
        """Create a pool.

        Args:
            at_once_max: The maximum number of computations that run or wait.
        """
        self._at_once_max = at_once_max
        self._unfinished = 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="compute")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread and return its value.

        Raises BusyError if too many computations run or wait, and any exception of `function`.
        """
        if self._unfinished >= self._at_once_max:
            raise BusyError(
                f"{self._unfinished} suites are already being evaluated; the maximum is "
                "suites_parsed_at_once_max",
                _RETRY_AFTER_S,
            )
        loop = asyncio.get_running_loop()
        call = partial(contextvars.copy_context().run, partial(function, *args, **kwargs))
        self._unfinished += 1
        done = self._threads.submit(call)
        # The computation continues if the request that waits for it is canceled.
        done.add_done_callback(lambda _: loop.call_soon_threadsafe(self._finish))
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Discard the computations that wait, and wait for those that run."""
        self._threads.shutdown(cancel_futures=True)

    def _finish(self) -> None:
        self._unfinished -= 1
