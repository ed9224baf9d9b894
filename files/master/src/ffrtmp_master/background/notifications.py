"""Hearing what other masters on the same PostgreSQL have committed."""

import asyncio
import logging
import select
import socket
import threading
from collections.abc import Awaitable, Callable

import psycopg

from ffrtmp_master.store.engine import psycopg_parameters
from ffrtmp_master.store.notifications import Notification
from ffrtmp_master.store.statements.postgresql import CHANNEL

_log = logging.getLogger(__name__)

# How long to wait before another try at a lost connection.
_PAUSE_S = 0.5


class NotificationListener:
    """One connection that listens, in a thread of its own."""

    def __init__(
        self,
        url: str,
        password: str | None,
        heard: Callable[[Notification | None], Awaitable[None]],
    ) -> None:
        """Prepare to listen; `heard` is awaited in the event loop that `start` is called in.

        It gets None after a connection was lost: something may have been said meanwhile.
        """
        self._parameters = psycopg_parameters(url, password)
        self._heard = heard
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener")
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start listening."""
        self._loop = asyncio.get_running_loop()
        # What is written into the one ends the wait on the other.
        self._bell, self._ear = socket.socketpair()
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        self._bell.send(b".")
        self._thread.join()
        self._bell.close()
        self._ear.close()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen_until_lost()
            except psycopg.OperationalError as error:
                _log.warning("lost the connection that listens to other masters: %s", error)
                self._stopped.wait(_PAUSE_S)

    def _listen_until_lost(self) -> None:
        with psycopg.connect(**self._parameters, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._deliver(None)
            waiting = select.poll()
            waiting.register(connection, select.POLLIN)
            waiting.register(self._ear, select.POLLIN)
            while not self._stopped.is_set():
                for notification in connection.notifies(timeout=0):
                    self._deliver(Notification.from_text(notification.payload))
                waiting.poll()

    def _deliver(self, news: Notification | None) -> None:
        if self._loop is None:
            return
        asyncio.run_coroutine_threadsafe(_awaited(self._heard(news)), self._loop)


async def _awaited(hearing: Awaitable[None]) -> None:
    """Await what is heard; what fails is looked for again by the sweep."""
    await hearing
