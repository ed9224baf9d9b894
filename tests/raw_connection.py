"""Connections that send arbitrary bytes, for requests that no HTTP client would send."""

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ffrtmp_shared.credentials import client_context


class Answer(NamedTuple):
    """A response: its status, its headers with names in lower case, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawConnection:
    """A connection that sends bytes and reads answers."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream

    def send(self, data: bytes) -> bool:
        """Send bytes. Return whether the server accepted them."""
        try:
            self.stream.sendall(data)
        except OSError:
            return False
        return True

    def answer(self, method: str = "POST") -> Answer:
        """Read the answer to a request with a method."""
        response = HTTPResponse(self.stream, method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def status(self) -> int | None:
        """Return the status of the next answer, or None if the server has closed the connection."""
        try:
            return self.answer().status
        except (OSError, HTTPException):
            return None

    def closed_after_s(self, limit_s: float) -> float | None:
        """Return the time until the server closes the connection, or None after `limit_s`."""
        start_s = time.monotonic()
        while True:
            left_s = limit_s - (time.monotonic() - start_s)
            if left_s <= 0:
                return None
            self.stream.settimeout(left_s)
            try:
                if not self.stream.recv(65536):
                    return time.monotonic() - start_s
            except TimeoutError:
                return None
            except OSError:
                return time.monotonic() - start_s


class Target(NamedTuple):
    """A server: its URL, and the CA that issued its certificate."""

    url: str
    ca_file: Path

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the server."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 443)

    def connect_without_tls(
        self, source: str | None = None, timeout_s: float = 20
    ) -> socket.socket:
        """Return a TCP connection, from the address `source` if it is given."""
        origin = None if source is None else (source, 0)
        return socket.create_connection(self.address, timeout_s, origin)

    @contextmanager
    def connected(
        self, source: str | None = None, context: ssl.SSLContext | None = None
    ) -> Iterator[RawConnection]:
        """Yield a TLS connection."""
        context = client_context(self.ca_file) if context is None else context
        with (
            self.connect_without_tls(source) as plain,
            context.wrap_socket(
                plain, server_hostname=self.address[0], suppress_ragged_eofs=True
            ) as stream,
        ):
            yield RawConnection(stream)


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: master"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
