"""Serving the application over TLS until somebody stops it."""

import gc
import socket
import ssl
from functools import partial
from typing import Any

import uvicorn

from ffrtmp_master.server import app
from ffrtmp_master.server.fast_path_protocol import FastPathProtocol
from ffrtmp_master.server.request_ids import RequestIds
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings

# What still runs then is cut off: with the rest of the shutdown it must stay under 5 s.
_GRACE_S = 3
# Longer than agents are silent between two calls: a new TLS connection costs more than an idle one.
_KEEP_ALIVE_S = 75
_OBJECTS_BEFORE_COLLECTING = 50_000


class _Server(uvicorn.Server):
    """A server that sends home who waits or follows before it waits for open requests to end."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.close_subscriptions()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises OSError when the certificate cannot be read, SystemExit when the port is taken.
    """
    _tune_garbage_collector()
    services = Services(settings)
    # The server calls it as it would a class.
    protocol: Any = partial(FastPathProtocol, services, RequestIds())
    config = uvicorn.Config(
        app.create_app(services),
        host=settings.listen_address,
        port=settings.listen_port,
        ssl_certfile=str(settings.certificate_file),
        ssl_keyfile=str(settings.key_file),
        ssl_ca_certs=None if settings.client_ca_file is None else str(settings.client_ca_file),
        ssl_cert_reqs=ssl.CERT_NONE if settings.client_ca_file is None else ssl.CERT_REQUIRED,
        loop="uvloop",
        http=protocol,
        ws="none",
        # The logs are set up already, and requests are counted in the metrics.
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody stands in front who would be believed: a load balancer hands connections through.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    _Server(config, services).run()


def _tune_garbage_collector() -> None:
    """Look for unused objects that refer to each other less often than by default.

    Requests leave few, and what was imported stays: a twentieth of the CPU was spent on looking.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTING)
