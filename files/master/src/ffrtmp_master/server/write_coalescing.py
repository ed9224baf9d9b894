"""Answers leave in one piece: their head and their body share a TLS record and a system call."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _CoalescingTransport:
    """A transport that holds what is written for a moment, in case that more follows at once.

    An answer's head and body are written one after the other in the same turn of the event loop;
    what is alone by the end of the turn goes out alone.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        # Asked for each answer; what is seldom asked finds its way by `__getattr__`.
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
        """Write what is whole already."""
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
    """Uvicorn's protocol on such a transport."""

    def connection_made(self, transport: Any) -> None:
        """Take a connection."""
        joining: Any = _CoalescingTransport(transport, self.loop)
        self.joining: _CoalescingTransport = joining
        super().connection_made(joining)
