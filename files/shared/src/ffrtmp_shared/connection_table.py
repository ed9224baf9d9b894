"""Open connections of a server: their number is bounded, and each has a deadline."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ConnectionBounds:
    """Maximum numbers of connections, in total and from one address."""

    total: int
    per_address: int


@dataclass(eq=False)
class OpenConnection:
    """A connection that a thread serves.

    `socket` is the plain socket until TLS wraps it. A connection is `trusted` after its client has
    presented a valid certificate.
    """

    socket: socket.socket
    address: str
    deadline_s: float
    trusted: bool = False


class ConnectionTable:
    """Admits connections within limits and closes those whose deadline has passed.

    At a limit, a new connection replaces the one that has waited longest for its client to complete
    the TLS handshake, because clients of the farm need milliseconds for it. Connections of one
    address replace only each other. If every connection has completed the handshake, the new one
    is refused.

    A thread may wait for its client without a time limit: closing the connection from another
    thread ends the wait.
    """

    def __init__(
        self, limits: ConnectionBounds, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create the table without connections; `clock` returns the time in seconds."""
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        # In the order in which the connections were admitted.
        self._open: dict[OpenConnection, None] = {}
        # Connections that were closed here, but whose threads have not ended yet.
        self._closing: set[OpenConnection] = set()

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    def admit(
        self, connected: socket.socket, address: str, handshake_s: float
    ) -> OpenConnection | None:
        """Add a connection.

        Args:
            connected: The socket of the connection.
            address: The address of the client.
            handshake_s: The time for the handshake, in seconds.

        Returns:
            The connection, or None if it is refused.
        """
        with self._lock:
            own = [found for found in self._open if found.address == address]
            if len(self._closing) >= self._limits.total:
                return None
            if len(own) >= self._limits.per_address and not self._replace(own):
                return None
            if len(self._open) >= self._limits.total and not self._replace(self._open):
                return None
            admitted = OpenConnection(connected, address, self._clock() + handshake_s)
            self._open[admitted] = None
            return admitted

    def extend(self, connection: OpenConnection, duration_s: float) -> None:
        """Close the connection if this is not called again within `duration_s` seconds."""
        connection.deadline_s = self._clock() + duration_s

    def is_open(self, connection: OpenConnection) -> bool:
        """Return whether the connection has not been closed."""
        return connection in self._open

    def remove(self, connection: OpenConnection) -> None:
        """Remove a connection whose thread ends."""
        with self._lock:
            self._open.pop(connection, None)
            self._closing.discard(connection)

    def close_expired(self) -> None:
        """Close all connections whose deadline has passed."""
        now_s = self._clock()
        with self._lock:
            self._close([found for found in self._open if found.deadline_s < now_s])
            # A connection may have been wrapped by TLS just when it was closed.
            for connection in self._closing:
                _shut_down(connection)

    def close_all(self) -> None:
        """Close all connections."""
        with self._lock:
            self._close(list(self._open))

    def _replace(self, candidates: Iterable[OpenConnection]) -> bool:
        oldest = next((found for found in candidates if not found.trusted), None)
        if oldest is not None:
            self._close([oldest])
        return oldest is not None

    def _close(self, connections: Iterable[OpenConnection]) -> None:
        for connection in connections:
            del self._open[connection]
            self._closing.add(connection)
            _shut_down(connection)


def _shut_down(connection: OpenConnection) -> None:
    try:
        # The method of the plain socket does not touch the state of TLS, which the thread may use.
        socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)
    except OSError:
        # The client or the thread has already closed the connection.
        return
