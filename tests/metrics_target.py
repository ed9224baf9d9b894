"""Exporters for tests of scrapes, whose pages the tests determine."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from certificates import HOST, Site

Page = Callable[[], bytes]
"""Returns the page of a target in Prometheus' text format."""


@contextmanager
def metrics_target(site: Site, page: Page) -> Iterator[str]:
    """Run an exporter within the context.

    Args:
        site: The exporter's certificate, and the CA of its clients.
        page: The page, which is made for each request.

    Yields:
        The address of the exporter, HOST:PORT.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = page()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                # VictoriaMetrics closes the connection when the response exceeds its limit.
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.certificate_file, site.key_file)
    context.load_verify_locations(site.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
