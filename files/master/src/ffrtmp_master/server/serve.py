"""The HTTPS server process."""

import asyncio
import gc
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import uvicorn
from ffrtmp_shared.config import ConfigError
from ffrtmp_shared.exporter import (
    LISTENER_STALE_AFTER_S,
    METRICS_LISTENER,
    ExporterSettings,
    make_server,
)
from ffrtmp_shared.exporter_server import ExporterServer
from ffrtmp_shared.server_certificates import CertificateCollector, ServerCertificates
from uvicorn.config import STARTUP_FAILURE

from ffrtmp_master.server import app
from ffrtmp_master.server.connection_limits import ConnectionLimits
from ffrtmp_master.server.fast_path_protocol import FastPathProtocol
from ffrtmp_master.server.listener import Listener
from ffrtmp_master.server.request_bounds import bounds_of
from ffrtmp_master.server.request_ids import RequestIds
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings

_log = logging.getLogger(__name__)

# At shutdown, requests that take longer are aborted, because the whole shutdown must take less
# than 5 s.
_GRACE_S = 3
_GC_THRESHOLD = 50_000
# Uvicorn calls `on_tick` ten times per second.
_TICKS_PER_CHECK = 10
# The label of the certificates of the API's listener.
_API_LISTENER = "api"


class Server(uvicorn.Server):
    """A server with limits for connections and requests.

    At shutdown, it closes parked claims and streams before it waits for open requests to end.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        services: Services,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """Create a server that does not listen yet.

        Args:
            config: The settings of Uvicorn, which include the address.
            services: The services of the master.
            tls: A function that returns the TLS settings for a new connection, or None for
                connections without TLS.
        """
        super().__init__(config)
        self._services = services
        self._tls = tls
        self.limits = ConnectionLimits(
            services.settings.connections_max,
            services.settings.connections_per_address_max,
            services.settings.trusted_proxies,
            services.metrics.count_refusal,
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and listen. The process exits if this is not possible."""
        del sockets  # The listener opens its own sockets.
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        config, settings = self.config, self._services.settings
        listener = Listener(
            self._new_protocol(),
            self.limits,
            self._services.metrics.count_refusal,
            self._tls,
            settings.handshake_timeout_s,
        )
        try:
            await listener.listen(config.host, config.port)
        except OSError as error:
            _log.error("cannot listen on %s port %d: %s", config.host, config.port, error)
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        servers: Any = [listener]
        self.servers = servers
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Perform Uvicorn's periodic tasks, and end the connections of clients that are too slow.

        `counter` is the number of previous calls.
        """
        if counter % _TICKS_PER_CHECK == 0:
            now_s = time.monotonic()
            for connection in list(self.server_state.connections):
                checked: Any = connection
                try:
                    checked.enforce_deadlines(now_s)
                except Exception:
                    # An error of one connection must neither stop the server nor remain unseen.
                    _log.exception("the deadlines of the connection of %s failed", checked.client)
                    checked.transport.abort()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all streams, then wait for open requests to end."""
        self._services.close_subscriptions()
        await super().shutdown(sockets)

    def _new_protocol(self) -> Callable[[Callable[[], None]], asyncio.Protocol]:
        """Return a function that creates the protocol of a connection."""
        create = partial(
            FastPathProtocol,
            self._services,
            RequestIds(),
            bounds=bounds_of(self._services.settings),
            count_refusal=self._services.metrics.count_refusal,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )
        return lambda release: create(release=release)


def serve(settings: Settings) -> None:
    """Serve requests until the process receives SIGTERM or SIGINT.

    Raises OSError or ConfigError if a certificate cannot be read, and SystemExit if the port is in
    use.
    """
    _tune_garbage_collector()
    # Renewed certificates and revocation lists are used without a restart.
    certificates = _certificates(settings)
    services = Services(settings, certificates=CertificateCollector(certificates))
    config = uvicorn.Config(
        app.create_app(services),
        host=settings.listen_address,
        port=settings.listen_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        # Logging is already configured. The metrics count requests, so no access log is needed.
        log_config=None,
        access_log=False,
        server_header=False,
        # Load balancers pass TLS connections through, so no forwarded headers can be trusted.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    # The metrics have a listener and threads of their own, so that they stay available when clients
    # overload the API.
    with (
        nullcontext()
        if settings.metrics is None
        else _metrics_server(settings.metrics, certificates[METRICS_LISTENER], services)
    ):
        Server(config, services, certificates[_API_LISTENER].context).run()


def _certificates(settings: Settings) -> dict[str, ServerCertificates]:
    """Load the certificates of each listener.

    Raises OSError or ConfigError if a certificate cannot be read.
    """
    files = {_API_LISTENER: settings.certificate_files}
    if settings.metrics is not None:
        files[METRICS_LISTENER] = settings.metrics.certificate_files
    try:
        return {listener: ServerCertificates(found) for listener, found in files.items()}
    except ValueError as error:
        raise ConfigError(f"the certificates cannot be used: {error}") from error


def _metrics_server(
    settings: ExporterSettings, certificates: ServerCertificates, services: Services
) -> ExporterServer:
    loop = services.loops.add("metrics_listener", stale_after_s=LISTENER_STALE_AFTER_S)
    return make_server(
        title="ffmpeg-rtmp master",
        page=services.metric_page,
        certificates=certificates,
        settings=settings,
        loop=loop,
    )


def _tune_garbage_collector() -> None:
    """Run the garbage collector less often than by default.

    Requests create few reference cycles, and imported modules stay in memory. With the default
    settings, collections would nevertheless take a twentieth of the CPU time.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
