"""A small HTTPS server that implements the parts of the master's API that agents use."""

import hashlib
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import msgspec
import trustme
from ffrtmp_shared.agent_models import Claim, Heartbeat, HeartbeatAnswer, LogStored, ReportStored
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Problem
from ffrtmp_shared.node_models import NodeHeartbeatAnswer
from ffrtmp_shared.states import JobState


@dataclass
class ReceivedRequest:
    """A request that the server received."""

    method: str
    path: str
    body: bytes
    query: str = ""


@dataclass
class ApiServer:
    """A server that answers every request with success, unless `refusals` has a status for it."""

    authority: trustme.CA
    ca_file: Path
    seen: list[ReceivedRequest] = field(default_factory=list)
    refusals: dict[str, deque[int]] = field(default_factory=dict)
    sources: dict[str, bytes] = field(default_factory=dict)
    claims: deque[Claim] = field(default_factory=deque)
    cancel: bool = False

    def __enter__(self) -> Self:
        """Listen on a free port."""
        handler = type("Handler", (_Handler,), {"server_state": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"https://127.0.0.1:{self._server.server_port}"

    def refuse(self, ending: str, *statuses: int) -> None:
        """Answer the next requests whose path ends with `ending` with the given statuses."""
        self.refusals.setdefault(ending, deque()).extend(statuses)

    def heartbeats(self) -> list[Heartbeat]:
        """Return the received heartbeats of jobs."""
        return [
            msgspec.json.decode(request.body, type=Heartbeat)
            for request in self.seen
            if request.path.startswith("/v1/jobs/") and request.path.endswith("/heartbeat")
        ]

    def bodies(self, ending: str) -> list[bytes]:
        """Return the bodies of the requests whose path ends with `ending`."""
        return [request.body for request in self.seen if request.path.endswith(ending)]


class _Handler(BaseHTTPRequestHandler):
    server_state: ApiServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Do not log requests."""

    def _answer(self) -> None:
        state = self.server_state
        address = urlsplit(self.path)
        path = address.path
        body = self._body()
        state.seen.append(ReceivedRequest(self.command, path, body, address.query))
        for ending, statuses in state.refusals.items():
            if path.endswith(ending) and statuses:
                status = statuses.popleft()
                self._send(status, Problem(type="t", title="no", status=status, detail="refused"))
                return
        name = path.rpartition("/")[2]
        if path.startswith("/v1/nodes/") and name == "heartbeat":
            self._send(200, NodeHeartbeatAnswer(time=datetime.now(UTC)))
        elif name == "heartbeat":
            self._send(200, HeartbeatAnswer(lease_s=60, cancel=state.cancel))
        elif name in ("result", "failure"):
            self._send(200, ReportStored(job_id=new_id(), state=JobState.SUCCEEDED, repeated=False))
        elif name == "log":
            self._send(200, LogStored(size_bytes=len(body), repeated=False))
        elif name == "claims":
            self._send(200, state.claims.popleft()) if state.claims else self._send(204, b"")
        elif path.startswith("/v1/sources/"):
            self._send(200, state.sources[name])
        elif path.startswith("/v1/nodes/"):
            now = "2026-01-01T00:00:00Z"
            self._send(
                200,
                {
                    "id": new_id(),
                    "name": name,
                    "state": "active",
                    "registration": msgspec.json.decode(body),
                    "registered_at": now,
                    "last_seen_at": now,
                },
            )
        else:
            digest = hashlib.sha256(body).hexdigest()
            self._send(200, Artifact(name=name, sha256=digest, size_bytes=len(body)))

    do_GET = do_PUT = do_POST = _answer  # noqa: N815 - the base's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, content: object) -> None:
        payload = content if isinstance(content, bytes) else msgspec.json.encode(content)
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
