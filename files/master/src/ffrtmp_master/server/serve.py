"""The HTTPS server process."""

import gc
import socket
import ssl
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from ffrtmp_shared.exporter import LISTENER_STALE_AFTER_S, ExporterSettings, make_server
from ffrtmp_shared.exporter_server import ExporterServer
from ffrtmp_shared.server_certificates import ServerCertificates

from ffrtmp_master.server import app
from ffrtmp_master.server.fast_path_protocol import FastPathProtocol
from ffrtmp_master.server.request_ids import RequestIds
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings

# At shutdown, requests that take longer are aborted, because the whole shutdown must take less
# than 5 s.
_GRACE_S = 3
# Idle connections are kept open for longer than the pause between two requests of an agent, because
# an idle connection costs less than a new TLS handshake.
_KEEP_ALIVE_S = 75
_GC_THRESHOLD = 50_000


class _Server(uvicorn.Server):
    """A server that closes parked claims and streams before it waits for open requests to end."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.close_subscriptions()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve requests until the process receives SIGTERM or SIGINT.

    Raises OSError if the certificate cannot be read, and SystemExit if the port is in use.
    """
    _tune_garbage_collector()
    services = Services(settings, certificates=ServerCertificates(settings.certificate_files))
    # Uvicorn expects a class, but a callable that returns a protocol is sufficient.
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
        # Logging is already configured. The metrics count requests, so no access log is needed.
        log_config=None,
        access_log=False,
        server_header=False,
        # Load balancers pass TLS connections through, so no forwarded headers can be trusted.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    if settings.client_crl_file is not None:
        _reject_revoked(config, settings.client_crl_file)
    # The metrics have a listener and threads of their own, so that they stay available when clients
    # overload the API.
    with nullcontext() if settings.metrics is None else _metrics_server(settings.metrics, services):
        _Server(config, services).run()


def _metrics_server(settings: ExporterSettings, services: Services) -> ExporterServer:
    loop = services.loops.add("metrics_listener", stale_after_s=LISTENER_STALE_AFTER_S)
    return make_server("ffmpeg-rtmp master", services.collectors(), settings, loop)


def _reject_revoked(config: uvicorn.Config, crl_file: Path) -> None:
    """Let the server reject clients whose certificate is on the revocation list."""
    config.load()
    if config.ssl is not None:
        config.ssl.load_verify_locations(crl_file)
        config.ssl.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _tune_garbage_collector() -> None:
    """Run the garbage collector less often than by default.

    Requests create few reference cycles, and imported modules stay in memory. With the default
    settings, collections would nevertheless take a twentieth of the CPU time.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
