"""An HTTPS server with a certificate of the farm's CA that answers as a test wants."""

import http.server
import itertools
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from ffrtmp_shared.client import MasterClient


@dataclass(frozen=True)
class Reply:
    """The bytes of a response after the status line and the headers."""

    status: int
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    declared_bytes: int | None = None


class Impostor:
    """A server with a certificate of the farm's CA that answers as the test wants."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self.replies: Iterator[Reply] = itertools.repeat(Reply(204))
        self.paths: list[str] = []
        handler = type("Handler", (_Handler,), {"impostor": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @contextmanager
    def serving(self) -> Iterator["Impostor"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def connect(self) -> MasterClient:
        url = f"https://127.0.0.1:{self._server.server_port}"
        return MasterClient(url, "token", self.ca_file)

    def answer_with(self, *replies: Reply) -> None:
        """Give these answers, and then the last one again and again."""
        self.replies = itertools.chain(replies, itertools.repeat(replies[-1]))


class _Handler(http.server.BaseHTTPRequestHandler):
    impostor: Impostor
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Do not log requests."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.impostor.paths.append(self.path)
        reply = next(self.impostor.replies)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            size = len(reply.content) if reply.declared_bytes is None else reply.declared_bytes
            self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(reply.content)
        if reply.declared_bytes is not None:
            self.close_connection = True

    do_GET = do_PUT = do_POST = _answer  # noqa: N815 - the base's names
