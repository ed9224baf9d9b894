"""Write coalescing: the head and body of a response share a TLS record and a system call."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _CoalescingTransport:
    """A transport that delays each write until the end of the event loop iteration.

    The head and body of a response are written in the same iteration and are sent together. A
    single write is sent at the end of the iteration.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        # Called for each response, so it does not go through `__getattr__`.
        self.is_closing = transport.is_closing
        self._call_soon = loop.call_soon
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        held = self._held
        if held is None:
            self._held = data
            self._call_soon(self._flush)
        else:
            self._held = None
            self._transport.write(held + data)

    def write_now(self, data: bytes) -> None:
        """Write a complete response without delay."""
        held, self._held = self._held, None
        self._transport.write(data if held is None else held + data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._transport.write(held)


class CoalescingProtocol(HttpToolsProtocol):
    """The protocol of Uvicorn on a coalescing transport."""

    def connection_made(self, transport: Any) -> None:
        """Wrap the transport of a new connection."""
        coalescing: Any = _CoalescingTransport(transport, self.loop)
        self._coalescing: _CoalescingTransport = coalescing
        super().connection_made(coalescing)
