"""Queries in separate threads, so that they block neither the event loop nor the writer."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from ffrtmp_master.store.engine import translated_errors

T = TypeVar("T")

_THREADS = 4


class Reader:
    """Runs queries, each in one consistent snapshot of the database."""

    def __init__(self, engine: Engine) -> None:
        """Create a reader that uses `engine`, whose connections should be read-only."""
        self._engine = engine
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reader")

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run `query` in a thread and return its value. Raises any exception of `query`."""
        loop = asyncio.get_running_loop()
        # The context of the request is copied, so that log lines of the thread contain its fields.
        context = contextvars.copy_context()
        return await loop.run_in_executor(self._threads, context.run, self._run, query)

    def read_blocking(self, query: Callable[[Connection], T], timeout_s: float) -> T:
        """Run `query` in a thread and wait for its value.

        Args:
            query: The query.
            timeout_s: The maximum time to wait, in seconds.

        Returns:
            The value.

        Raises:
            TimeoutError: The query has not ended in time.
            Exception: Any exception of the query.
        """
        return self._threads.submit(self._run, query).result(timeout_s)

    def close(self) -> None:
        """Wait for the running queries and end the threads."""
        self._threads.shutdown()

    def _run(self, query: Callable[[Connection], T]) -> T:
        with (
            self._engine.connect() as connection,
            translated_errors(connection),
            connection.begin(),
        ):
            return query(connection)
