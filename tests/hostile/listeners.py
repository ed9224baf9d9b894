"""The listeners under attack, each with the ordinary requests of its other clients."""

import json
import ssl
from pathlib import Path
from typing import NamedTuple, Protocol

from ffrtmp_shared.credentials import client_context
from raw_connection import RawConnection, Target, head


class Tokens(NamedTuple):
    """The tokens of the ordinary clients, and the node of the agent."""

    viewer: str
    agent: str
    node: str


class Listener(Protocol):
    """A listener: its address, and requests that its ordinary clients send."""

    target: Target

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings of a client."""

    def ordinary_requests(self) -> dict[str, bytes]:
        """Return the requests of other clients, by name."""

    def resident_bytes(self) -> float:
        """Return the memory of the process, as it reports it itself."""


class ApiListener:
    """The API of a master."""

    def __init__(self, target: Target, tokens: Tokens) -> None:
        self.target = target
        self.tokens = tokens

    def context(self) -> ssl.SSLContext:
        return client_context(self.target.ca_file)

    def ordinary_requests(self) -> dict[str, bytes]:
        body = json.dumps({"node": self.tokens.node, "slot": 1, "wait_s": 0}).encode()
        length = {"Content-Length": str(len(body))}
        return {
            "claim": head("POST", "/v1/claims", _bearer(self.tokens.agent) | length) + body,
            "scrape": head("GET", "/metrics", _bearer(self.tokens.viewer)),
        }

    def resident_bytes(self) -> float:
        return resident_bytes_of(self)


class ExporterListener:
    """An exporter, which accepts only clients with a certificate of the farm."""

    def __init__(self, target: Target, certificate: tuple[Path, Path]) -> None:
        self.target = target
        self._certificate = certificate

    def context(self) -> ssl.SSLContext:
        context = client_context(self.target.ca_file)
        context.load_cert_chain(*self._certificate)
        return context

    def ordinary_requests(self) -> dict[str, bytes]:
        return {"scrape": head("GET", "/metrics", {"Connection": "close"})}

    def resident_bytes(self) -> float:
        return resident_bytes_of(self)

    def is_up(self) -> bool:
        """Return whether the exporter answers a scrape."""
        try:
            with self.target.connected(context=self.context()) as connection:
                connection.send(self.ordinary_requests()["scrape"])
                return connection.status() == 200
        except OSError:
            return False


def resident_bytes_of(listener: Listener) -> float:
    """Return the memory of a process from its own metrics."""
    with listener.target.connected(context=listener.context()) as connection:
        connection.send(listener.ordinary_requests()["scrape"])
        page = connection.answer().body.decode()
    prefix = "process_resident_memory_bytes "
    (line,) = (line for line in page.splitlines() if line.startswith(prefix))
    return float(line.removeprefix(prefix))


def exchange(listener: Listener, connection: RawConnection | None, request: bytes) -> int | None:
    """Send a request on a connection, or on a new one, and return the status of the answer."""
    if connection is not None:
        connection.send(request)
        return connection.status()
    with listener.target.connected(context=listener.context()) as opened:
        opened.send(request)
        return opened.status()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
