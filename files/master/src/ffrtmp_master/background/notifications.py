"""Notifications of commits by other masters that share a PostgreSQL database."""

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

# The pause in seconds before the listener reconnects after it has lost its connection.
_PAUSE_S = 0.5


class NotificationListener:
    """Receives notifications on a separate database connection, in a separate thread."""

    def __init__(
        self,
        url: str,
        password: str | None,
        on_notification: Callable[[Notification | None], Awaitable[None]],
    ) -> None:
        """Create the listener; `start` starts the thread.

        Args:
            url: The URL of the database.
            password: The password of the database, if any.
            on_notification: Called and awaited for each notification, in the event loop that called
                `start`. Also called with None after each connect or reconnect, because earlier
                notifications may have been missed.
        """
        self._parameters = psycopg_parameters(url, password)
        self._on_notification = on_notification
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener")
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start listening."""
        self._loop = asyncio.get_running_loop()
        # A byte written to the first socket ends the thread's wait on the second socket.
        self._stop_sender, self._stop_receiver = socket.socketpair()
        self._thread.start()

    def close(self) -> None:
        """Stop listening and wait for the thread."""
        self._stopped.set()
        self._stop_sender.send(b".")
        self._thread.join()
        self._stop_sender.close()
        self._stop_receiver.close()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen_until_lost()
            except psycopg.OperationalError as error:
                _log.warning("lost the connection for notifications; reconnecting: %s", error)
                self._stopped.wait(_PAUSE_S)

    def _listen_until_lost(self) -> None:
        with psycopg.connect(**self._parameters, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._deliver(None)
            poller = select.poll()
            poller.register(connection, select.POLLIN)
            poller.register(self._stop_receiver, select.POLLIN)
            while not self._stopped.is_set():
                for notification in connection.notifies(timeout=0):
                    self._deliver(Notification.from_text(notification.payload))
                poller.poll()

    def _deliver(self, notification: Notification | None) -> None:
        if self._loop is None:
            return
        asyncio.run_coroutine_threadsafe(
            _as_coroutine(self._on_notification(notification)), self._loop
        )


async def _as_coroutine(handling: Awaitable[None]) -> None:
    """Await the handling of a notification.

    If the handling fails, the maintenance loop repeats the lost wake-ups.
    """
    await handling
