"""Notifications of commits by other masters that share a PostgreSQL database."""

import asyncio
import logging
import select
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

import msgspec
import psycopg
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop

from ffrtmp_master.store.engine import psycopg_parameters
from ffrtmp_master.store.notifications import Notification
from ffrtmp_master.store.statements.postgresql import CHANNEL

_log = logging.getLogger(__name__)

# The shortest and longest pause in seconds before the listener reconnects.
_PAUSE_S = 0.5
_PAUSE_MAX_S = 5.0
# The interval in seconds at which the connection is checked while there are no notifications.
_CHECK_EVERY_S = 10.0
_STALE_AFTER_S = 60.0


class ReplicaError(Exception):
    """The server of the connection is a replica, which sends no notifications."""


class NotificationListener:
    """Receives notifications on a separate database connection, in a separate thread."""

    def __init__(
        self,
        url: str,
        password: str | None,
        on_notification: Callable[[Notification | None], Awaitable[None]],
        loops: LoopRegistry,
    ) -> None:
        """Create the listener; `start` starts the thread.

        Args:
            url: The URL of the database.
            password: The password of the database, if any.
            on_notification: Called and awaited for each notification, in the event loop that called
                `start`. Also called with None after each connect or reconnect, because earlier
                notifications may have been missed.
            loops: The registry of the master's loops.
        """
        self._parameters = psycopg_parameters(url, password)
        self._on_notification = on_notification
        self._stopped = threading.Event()
        self._status = loops.add("notifications", stale_after_s=_STALE_AFTER_S)
        self._thread = ThreadLoop(
            self._status,
            self._listen,
            Pacing(interval_s=0.0, retry_pause_s=_PAUSE_S, retry_pause_max_s=_PAUSE_MAX_S),
            stopped=self._stopped,
            expected=(psycopg.Error, ReplicaError),
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start listening."""
        self._loop = asyncio.get_running_loop()
        # A byte written to the first socket ends the thread's wait on the second socket.
        self._stop_sender, self._stop_receiver = socket.socketpair()
        self._thread.start(is_daemon=False)

    def close(self) -> None:
        """Stop listening and wait for the thread."""
        self._stopped.set()
        self._stop_sender.send(b".")
        self._thread.join()
        self._stop_sender.close()
        self._stop_receiver.close()

    def _listen(self) -> AfterPass:
        """Receive notifications on one connection until it is lost or the listener is stopped."""
        with psycopg.connect(**self._parameters, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._deliver(None)
            poller = select.poll()
            poller.register(connection, select.POLLIN)
            poller.register(self._stop_receiver, select.POLLIN)
            while not self._stopped.is_set():
                for notification in connection.notifies(timeout=0):
                    self._deliver(self._decode(notification.payload))
                self._status.succeed()
                if not poller.poll(_CHECK_EVERY_S * 1000):
                    _check(connection)
        return AfterPass.END

    def _decode(self, payload: str) -> Notification | None:
        """Return the notification, or None if a master of another release sent another format."""
        try:
            return Notification.from_text(payload)
        except msgspec.DecodeError as error:
            self._status.fail()
            _log.warning("a notification cannot be decoded: %s: %.200s", error, payload)
            return None

    def _deliver(self, notification: Notification | None) -> None:
        if self._loop is None:
            return
        handling = asyncio.run_coroutine_threadsafe(
            _as_coroutine(self._on_notification(notification)), self._loop
        )
        handling.add_done_callback(self._log_failure)

    def _log_failure(self, handling: Future[None]) -> None:
        """Log the failure of a handler. The lost wake-ups are repeated by the maintenance."""
        if handling.cancelled():
            return
        error = handling.exception()
        if error is not None:
            self._status.fail()
            _log.error("a notification could not be handled", exc_info=error)


def _check(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Raise psycopg.OperationalError if the connection is lost, or ReplicaError on a replica."""
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    if row is not None and row[0]:
        raise ReplicaError("the server has become a replica; reconnecting")


async def _as_coroutine(handling: Awaitable[None]) -> None:
    await handling
