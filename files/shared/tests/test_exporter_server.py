"""Tests of the server of metrics over real TLS connections, with clients that misbehave."""

import gzip
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import HOST, Site
from ffrtmp_shared.connection_table import ConnectionBounds
from ffrtmp_shared.exporter_server import ExporterServer
from ffrtmp_shared.http_exchange import HEAD_MAX_BYTES, HttpTimes
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.server_certificates import CertificateFiles, ServerCertificates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polling import TIMEOUT_S, wait_until
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BOUNDS = ConnectionBounds(total=32, per_address=8)
# The long phases are longer than TIMEOUT_S, so that they do not end a connection that must end for
# another reason.
SHORT = HttpTimes(handshake_s=0.5, head_s=0.5, idle_s=600, answer_s=10)
LONG = HttpTimes(handshake_s=600, head_s=600, idle_s=600, answer_s=600)


class Constant(Collector):
    """A collector whose page is long enough to be compressed."""

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("ffrtmp_some_bytes", "A metric " + "x" * 4000, 7, unit="bytes")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextmanager
def running(
    site: Site,
    *,
    times: HttpTimes = LONG,
    bounds: ConnectionBounds = BOUNDS,
    is_ready: Callable[[], bool] = lambda: True,
    clock: Callable[[], float] = time.monotonic,
    with_list: bool = False,
) -> Iterator[ExporterServer]:
    crl_file = site.crl_file if with_list else None
    files = CertificateFiles(site.certificate_file, site.key_file, site.ca_file, crl_file)
    with ExporterServer(
        title="the <exporter>",
        page=MetricPage({"constant": Constant()}),
        certificates=ServerCertificates(files, clock),
        address=(HOST, 0),
        limits=bounds,
        loop=LoopRegistry().add("listener", stale_after_s=60),
        is_ready=is_ready,
        times=times,
    ) as server:
        yield server


def dial(server: ExporterServer, source: str = HOST) -> socket.socket:
    return socket.create_connection((HOST, server.port), TIMEOUT_S, source_address=(source, 0))


def encrypted(site: Site, server: ExporterServer, source: str = HOST) -> ssl.SSLSocket:
    return site.context().wrap_socket(dial(server, source), server_hostname=HOST)


def ask(
    context: ssl.SSLContext,
    server: ExporterServer,
    path: str = "/metrics",
    method: str = "GET",
    **headers: str,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPSConnection(HOST, server.port, context=context, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def end_of(connection: socket.socket) -> bytes:
    """Return all that the server still sends before it closes the connection."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return received


# --- paths and methods ---------------------------------------------------------------------------


def test_paths_and_methods(site: Site) -> None:
    with running(site) as server:
        context = site.context()
        status, headers, body = ask(context, server)
        assert (status, headers["Content-Type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        assert b"ffrtmp_some_bytes 7.0\n" in body
        assert ask(context, server, "/-/healthy")[0::2] == (200, b"healthy\n")
        assert ask(context, server, "/-/ready")[0::2] == (200, b"ready\n")
        status, headers, body = ask(context, server, "/?a=b")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b'<a href="/metrics">' in body
        assert b"the &lt;exporter&gt;" in body
        for path in ("/metric", "/metrics/", "//metrics", "/etc/passwd", "/../metrics"):
            assert ask(context, server, path)[0] == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            status, headers, _ = ask(context, server, method=method)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_single_collectors_can_be_requested(site: Site) -> None:
    with running(site) as server:
        context = site.context()
        _, _, whole = ask(context, server, "/metrics?collect[]=constant")
        _, _, other = ask(context, server, "/metrics?collect[]=other&collect%5B%5D=more")
    assert b"ffrtmp_some_bytes" in whole
    assert b"ffrtmp_some_bytes" not in other


def test_head_returns_only_headers(site: Site) -> None:
    with running(site) as server:
        context = site.context()
        for path in ("/metrics", "/", "/-/healthy", "/nothing"):
            expected = ask(context, server, path)
            status, headers, body = ask(context, server, path, "HEAD")
            assert (status, body) == (expected[0], b"")
            if path != "/metrics":
                assert headers["Content-Length"] == expected[1]["Content-Length"]


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False), ("", False)],
)
def test_pages_are_compressed_for_clients_that_accept_it(
    site: Site, accepted: str, is_compressed: bool
) -> None:
    with running(site) as server:
        _, headers, body = ask(site.context(), server, **{"Accept-Encoding": accepted})
        assert (headers["Content-Encoding"] == "gzip") == is_compressed
        assert b"ffrtmp_some_bytes 7.0\n" in (gzip.decompress(body) if is_compressed else body)


def test_metrics_are_not_served_before_they_are_complete(site: Site) -> None:
    is_ready = [False]
    with running(site, is_ready=lambda: is_ready[0]) as server:
        context = site.context()
        assert ask(context, server)[0] == ask(context, server, "/-/ready")[0] == 503
        assert ask(context, server, "/-/healthy")[0] == 200
        is_ready[0] = True
        assert ask(context, server)[0] == ask(context, server, "/-/ready")[0] == 200


def test_a_connection_serves_several_requests(site: Site) -> None:
    with running(site) as server, encrypted(site, server) as connection:
        for _ in range(3):
            connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).endswith(b"healthy\n")
        connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert end_of(connection).endswith(b"healthy\n")
        assert server.open_connections <= 1


# --- TLS -----------------------------------------------------------------------------------------


def test_a_client_needs_a_certificate_of_the_ca(site: Site, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Site(tmp_path / "other")
    with running(site) as server:
        foreign = site.anonymous_context()
        stranger.authority.issue_cert("client").configure_cert(foreign)
        for context in (site.anonymous_context(), foreign):
            with pytest.raises(OSError):
                ask(context, server)
        with dial(server) as plain:
            plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"ffrtmp_some" not in end_of(plain)
        assert ask(site.context(), server)[0] == 200


def test_old_versions_of_tls_are_refused(site: Site) -> None:
    with running(site) as server:
        context = site.context()
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):
            ask(context, server)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = site.context()
            context.minimum_version = context.maximum_version = version
            assert ask(context, server)[0] == 200


def test_a_renewed_certificate_is_served_without_a_restart(site: Site) -> None:
    clock = Clock()
    with running(site, clock=clock) as server:
        with encrypted(site, server) as connection:
            before = connection.getpeercert(binary_form=True)
        site.renew()
        clock.now += 2
        with encrypted(site, server) as connection:
            assert connection.getpeercert(binary_form=True) != before
        assert ask(site.context(), server)[0] == 200


def test_a_revoked_client_is_refused_without_a_restart(site: Site) -> None:
    clock = Clock()
    revoked, other = site.authority.issue_cert("w1"), site.authority.issue_cert("w2")
    site.revoke([])
    with running(site, clock=clock, with_list=True) as server:
        assert ask(site.context(revoked), server)[0] == 200
        site.revoke([revoked])
        clock.now += 2
        with pytest.raises(OSError):
            ask(site.context(revoked), server)
        assert ask(site.context(other), server)[0] == 200


# --- clients that are silent or slow -------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 100])
def test_silent_connections_do_not_block_a_scrape(site: Site, count: int) -> None:
    with running(site) as server, ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(dial(server))
        context = site.context()
        for _ in range(3):
            assert ask(context, server)[0] == 200
        assert server.open_connections <= BOUNDS.per_address


def test_silent_connections_from_many_addresses_do_not_block_a_scrape(site: Site) -> None:
    with running(site) as server, ExitStack() as stack:
        for number in range(100):
            stack.enter_context(dial(server, f"127.0.1.{number + 1}"))
        assert ask(site.context(), server)[0] == 200
        assert server.open_connections <= BOUNDS.total


def test_a_handshake_has_a_deadline(site: Site) -> None:
    with running(site, times=SHORT) as server, dial(server) as silent, dial(server) as slow:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        half = site.context().wrap_bio(incoming, outgoing, server_hostname=HOST)
        with pytest.raises(ssl.SSLWantReadError):
            half.do_handshake()
        hello = outgoing.read()
        slow.sendall(hello[: len(hello) // 2])
        assert ask(site.context(), server)[0] == 200
        assert end_of(silent) == end_of(slow) == b""


@pytest.mark.slow
def test_a_head_that_arrives_in_drips_has_a_deadline(site: Site) -> None:
    with running(site, times=SHORT) as server, encrypted(site, server) as connection:
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < TIMEOUT_S:
                connection.sendall(b"G")
                connection.settimeout(0.05)
                try:
                    if not connection.recv(1):
                        raise ConnectionResetError
                except TimeoutError:
                    continue
        assert time.monotonic() - began < TIMEOUT_S
        assert ask(site.context(), server)[0] == 200


def test_an_idle_connection_has_a_deadline(site: Site) -> None:
    times = replace(LONG, idle_s=0.3)
    with running(site, times=times) as server, encrypted(site, server) as connection:
        connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert end_of(connection).endswith(b"healthy\n")


def test_a_client_that_does_not_read_has_a_deadline(site: Site) -> None:
    times = replace(LONG, answer_s=0.3)
    with running(site, times=times) as server, encrypted(site, server) as connection:
        connection.setblocking(False)
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50

        # The client sends requests until the buffers are full, and never reads.
        def is_closed() -> bool:
            try:
                connection.send(request)
            except (ssl.SSLWantWriteError, BlockingIOError):
                pass
            except OSError:
                return True
            return not server.open_connections

        wait_until(is_closed, "the server closes the connection", interval_s=0.001)
        assert ask(site.context(), server)[0] == 200


# --- requests that are too large or not valid ----------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 64 * 1024 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"b" * 64 * 1024 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 8 * 1024 + b"\r\n",
    ],
)
def test_a_large_head_is_refused(site: Site, head: bytes) -> None:
    assert len(head) > HEAD_MAX_BYTES
    with running(site) as server:
        with encrypted(site, server) as connection:
            try:
                connection.sendall(head)
            except (ConnectionError, ssl.SSLEOFError):
                # The server has already closed the connection.
                pass
            else:
                assert end_of(connection)[:12] in (b"HTTP/1.1 431", b"")
        assert ask(site.context(), server)[0] == 200


def test_endless_headers_end_the_connection(site: Site) -> None:
    with running(site) as server:
        with encrypted(site, server) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            with pytest.raises(OSError):
                for _ in range(50 * 1024):
                    connection.sendall(b"X-A: " + b"b" * 1017 + b"\r\n")
        assert ask(site.context(), server)[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 200),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\r\n\r\n\r\nnonsense\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: close, upgrade\r\n\r\n", 200),
    ],
)
def test_unusual_requests_get_an_answer(site: Site, request_bytes: bytes, status: int) -> None:
    with running(site) as server, encrypted(site, server) as connection:
        connection.sendall(request_bytes)
        connection.settimeout(TIMEOUT_S)
        assert connection.recv(4096).startswith(f"HTTP/1.1 {status} ".encode())


_PIECES = (
    *(b"GET ", b"HEAD ", b"/metrics ", b"/ ", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n"),
    *(b"Host: x\r\n", b"Accept: q=;,\r\n", b"Content-Length: 3\r\n", b"\x00", b"\xff: \r"),
)


@pytest.mark.slow
@pytest.mark.property
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pieces=st.lists(
        st.sampled_from(_PIECES) | st.binary(max_size=20),
        max_size=12,
    )
)
def test_no_request_causes_an_error_of_the_server(site: Site, pieces: list[bytes]) -> None:
    with running(site) as server:
        with encrypted(site, server) as connection:
            connection.sendall(b"".join(pieces) + b"\r\n\r\n")
            socket.socket.shutdown(connection, socket.SHUT_WR)
            answers = end_of(connection)
        assert b"HTTP/1.1 5" not in answers
        assert ask(site.context(), server)[0] == 200


# --- numbers of connections ----------------------------------------------------------------------


def test_connections_of_one_address_are_bounded(site: Site) -> None:
    bounds = ConnectionBounds(total=32, per_address=2)
    with running(site, bounds=bounds) as server:
        with encrypted(site, server) as first, encrypted(site, server) as second:
            for connection in (first, second):
                connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(4096)
            with pytest.raises(OSError):
                ask(site.context(), server)
            with encrypted(site, server, "127.0.0.2") as other:
                other.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
                assert other.recv(4096)
        wait_until(lambda: not server.open_connections, "the connections are closed")
        assert ask(site.context(), server)[0] == 200


def test_connections_are_bounded_in_total(site: Site) -> None:
    bounds = ConnectionBounds(total=2, per_address=2)
    with running(site, bounds=bounds) as server, ExitStack() as stack:
        for source in ("127.0.0.2", "127.0.0.3"):
            connection = stack.enter_context(encrypted(site, server, source))
            connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096)
        with pytest.raises(OSError):
            ask(site.context(), server)


def test_stopping_closes_all_connections_promptly(site: Site) -> None:
    with ExitStack() as stack:
        with running(site) as server:
            silent = stack.enter_context(dial(server))
            idle = stack.enter_context(encrypted(site, server))
            idle.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(4096)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        assert end_of(silent) == end_of(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            dial(server)
