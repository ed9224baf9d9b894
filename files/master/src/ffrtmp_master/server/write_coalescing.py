"""Write coalescing, which sends the head and body of a response in one TLS record."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _CoalescingTransport:
    """A transport that delays a write until the next write or event loop iteration.

    The head and body of a response are written in the same iteration and are therefore sent
    together, which also takes only one system call.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        # Called for each response, so the slower access through `__getattr__` is avoided.
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
        """Write a complete response and any delayed data immediately."""
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
    """Uvicorn's HTTP protocol on a transport that coalesces writes."""

    def connection_made(self, transport: Any) -> None:
        """Wrap the transport of a new connection."""
        coalescing: Any = _CoalescingTransport(transport, self.loop)
        self._coalescing: _CoalescingTransport = coalescing
        super().connection_made(coalescing)
