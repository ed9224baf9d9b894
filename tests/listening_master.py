"""A master in the process of the tests that listens on a port, so that it can stream answers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from ffrtmp_master.server import app
from ffrtmp_master.services import Services
from polling import TIMEOUT_S
from postgresql import free_port


class _Server(uvicorn.Server):
    """A server that signals that it listens, and closes subscriptions when it stops."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self.is_listening = threading.Event()
        self._services = services

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.close_subscriptions()
        await super().shutdown(sockets)


class ListeningMaster:
    """A master that listens on a port; `stop` ends it as SIGTERM would."""

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
        assert self._server.is_listening.wait(TIMEOUT_S)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@contextmanager
def listening_master(services: Services) -> Iterator[ListeningMaster]:
    """Run a master on a port within the context."""
    master = ListeningMaster(services)
    master.start()
    try:
        yield master
    finally:
        master.stop()
