"""TLS over an asyncio connection, with buffers that are freed with the connection.

A connection of asyncio's own TLS has a buffer of 256 KiB in a reference cycle. The exporter health
opens connections all the time, and would keep those of hundreds until the garbage collector runs.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_READ_BYTES = 16 * 1024


class TlsStream:
    """The client's side of a TLS connection. The caller limits the time of each call."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        server_name: str,
    ) -> None:
        """Create the stream of a connection; `handshake` must be called first.

        Args:
            reader: Receives from the connection.
            writer: Sends over the connection.
            context: The TLS context, which verifies the certificate of the server.
            server_name: The name or address that the certificate must contain.
        """
        self._reader = reader
        self._writer = writer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    @property
    def certificate(self) -> bytes | None:
        """The certificate of the server in DER; None if it presented none."""
        return self._tls.getpeercert(binary_form=True)

    async def handshake(self) -> None:
        """Agree on keys, and verify the server. Raises OSError, of which SSLError is a subclass."""
        await self._complete(self._tls.do_handshake)

    async def send(self, data: bytes) -> None:
        """Send data. Raises OSError."""
        await self._complete(lambda: self._tls.write(data))

    async def receive(self) -> bytes:
        """Return received data, or nothing after the end of the connection. Raises OSError."""
        try:
            return await self._complete(lambda: self._tls.read(_READ_BYTES))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def _complete(self, operation: Callable[[], T]) -> T:
        """Repeat an operation with further received data until it succeeds."""
        outcomes: list[T] = []
        while not outcomes:
            try:
                outcomes.append(operation())
            except ssl.SSLWantReadError:
                await self._flush()
                received = await self._reader.read(_READ_BYTES)
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
        await self._flush()
        return outcomes[0]

    async def _flush(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())
            await self._writer.drain()
