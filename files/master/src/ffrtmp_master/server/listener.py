"""The listening sockets of the master, which bound connections before the TLS handshake."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from ffrtmp_master.server.connection_limits import ConnectionLimits

_log = logging.getLogger(__name__)

_BACKLOG = 2048
# The number of connections that are accepted before other events are handled.
_ACCEPTED_AT_ONCE = 64
# The time after which accepting is tried again if the process has no free file descriptors.
_EXHAUSTED_PAUSE_S = 0.5
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# The time in which a client must read the rest of its last response and end the TLS connection.
_TLS_END_TIMEOUT_S = 15.0

Release = Callable[[], None]


class Listener:
    """Accepts connections within the limits, and hands each to a protocol after its handshake.

    The event loop's own server accepts any number of connections, and a connection that does not
    begin its TLS handshake is not visible to the protocol. Therefore, this class accepts the
    connections itself. It has the methods of `asyncio.Server` that Uvicorn uses.
    """

    def __init__(
        self,
        new_protocol: Callable[[Release], asyncio.Protocol],
        limits: ConnectionLimits,
        count_refusal: Callable[[str], None],
        tls: Callable[[], ssl.SSLContext] | None,
        handshake_timeout_s: float,
    ) -> None:
        """Create a listener that does not listen yet.

        Args:
            new_protocol: A function that creates the protocol of a connection. Its argument must be
                called when the connection has ended.
            limits: The limits of the number of connections.
            count_refusal: A function that counts a refused connection by its reason.
            tls: A function that returns the TLS settings for a new connection, or None for
                connections without TLS.
            handshake_timeout_s: The maximum duration of a TLS handshake.
        """
        self._new_protocol = new_protocol
        self._limits = limits
        self._count_refusal = count_refusal
        self._tls = tls
        self._handshake_timeout_s = handshake_timeout_s
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self.sockets: list[socket.socket] = []

    async def listen(self, host: str, port: int) -> None:
        """Listen on all addresses of a host. Raises OSError if that is not possible."""
        found = await self._loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self.sockets.append(_open(family, address))
        except OSError:
            self.close()
            raise
        for opened in self.sockets:
            self._loop.add_reader(opened, self._accept, opened)

    def close(self) -> None:
        """Stop listening. Connections whose handshake is complete stay open."""
        for opened in self.sockets:
            self._loop.remove_reader(opened)
            opened.close()
        self.sockets.clear()
        for handshake in self._handshakes:
            handshake.cancel()

    async def wait_closed(self) -> None:
        """Wait until all unfinished handshakes have ended."""
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def _accept(self, opened: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = opened.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                _log.error("no connection can be accepted: %s", error)
                self._loop.remove_reader(opened)
                self._loop.call_later(_EXHAUSTED_PAUSE_S, self._resume, opened)
                return
            release = self._limits.admit((address[0], address[1]))
            if release is None:
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._connect(connection, release))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _resume(self, opened: socket.socket) -> None:
        if opened in self.sockets:
            self._loop.add_reader(opened, self._accept, opened)

    async def _connect(self, connection: socket.socket, release: Release) -> None:
        is_connected = False
        tls: dict[str, Any] = {}
        if self._tls is not None:
            tls = {
                "ssl": self._tls(),
                "ssl_handshake_timeout": self._handshake_timeout_s,
                "ssl_shutdown_timeout": _TLS_END_TIMEOUT_S,
            }
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._new_protocol(release), connection, **tls
            )
            is_connected = True
        except (OSError, ssl.SSLError) as error:
            self._count_refusal("handshake")
            _log.debug("a TLS handshake failed: %s", error)
        finally:
            # If the handshake failed, the protocol was never connected and cannot call `release`.
            if not is_connected:
                release()


def _open(family: int, address: Any) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setblocking(False)
        opened.bind(address)
        opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened
