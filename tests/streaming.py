"""A master in this process that really listens, so that answers come piece by piece."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from ffrtmp_master.server import app
from ffrtmp_master.services import Services
from postgresql import free_port


class _Server(uvicorn.Server):
    """A server that says when it listens, and that sends home who follows, as the real one does."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self.listens = threading.Event()
        self._services = services

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.close_subscriptions()
        await super().shutdown(sockets)


class Listening:
    """Where a master listens; `stop` ends it as SIGTERM would."""

    def __init__(self, services: Services) -> None:
        self.services = services
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = uvicorn.Config(
            app.create_app(services),
            port=port,
            log_config=None,
            ws="none",
            timeout_graceful_shutdown=10,
        )
        self._server = _Server(config, services)
        self._thread = threading.Thread(target=self._server.run)

    def start(self) -> None:
        self._thread.start()
        assert self._server.listens.wait(30)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@contextmanager
def listening(services: Services) -> Iterator[Listening]:
    """Run a master that listens."""
    one = Listening(services)
    one.start()
    try:
        yield one
    finally:
        one.stop()
