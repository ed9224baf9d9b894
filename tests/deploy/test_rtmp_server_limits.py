"""Tests of the limits of the RTMP server, with Nginx and the settings that its role installs."""

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import role_template
import trustme
from polling import TIMEOUT_S, wait_until
from postgresql import free_port
from prometheus_client.parser import text_string_to_metric_families
from raw_connection import RawConnection, Target, head

_LIMITS = {
    "rtmp_server_connections_max": 4,
    "rtmp_server_handshake_timeout_s": 1,
    "rtmp_server_http_head_timeout_s": 1,
}


class RtmpServer(NamedTuple):
    """A running RTMP server: the port of its streams, its HTTP listener, and a client's TLS."""

    rtmp_port: int
    http: Target
    context: ssl.SSLContext

    def connect(self) -> socket.socket:
        """Connect to the port of the streams."""
        return socket.create_connection(("127.0.0.1", self.rtmp_port), 10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RtmpServer]:
    """An RTMP server with low limits."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / name for name in ("ca.pem", "host.pem", "host.key")}
    authority.cert_pem.write_to_path(files["ca.pem"])
    certificate.private_key_pem.write_to_path(files["host.key"])
    certificate.cert_chain_pems[0].write_to_path(files["host.pem"])
    rtmp_port, http_port = free_port(), free_port()
    config = tmp_path / "rtmp-server.conf"
    variables = {
        "rtmp_server_listen_address": "127.0.0.1",
        "rtmp_server_port": rtmp_port,
        "rtmp_server_http_listen_address": "127.0.0.1",
        "rtmp_server_http_port": http_port,
        "rtmp_server_ca_file": files["ca.pem"],
        "rtmp_server_certificate_file": files["host.pem"],
        "rtmp_server_key_file": files["host.key"],
        "rtmp_server_crl_file": "",
    }
    values = {name: str(value) for name, value in (variables | _LIMITS).items()}
    allowed = {"__rtmp_server_allowed": ["127.0.0.1"]}
    config.write_text(
        role_template.render("rtmp_server", "rtmp-server.conf.j2", **values | allowed)
    )
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert nginx is not None, "Nginx is not installed: run make test-tools"
    (tmp_path / "hls").mkdir()
    context = ssl.create_default_context(cafile=files["ca.pem"])
    context.load_cert_chain(files["host.pem"], files["host.key"])
    http = Target(f"https://127.0.0.1:{http_port}", files["ca.pem"])
    command = [nginx, "-e", "stderr", "-p", f"{tmp_path}/", "-c", str(config)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=log)
    try:
        wait_until(lambda: is_up(http, process), "Nginx listens", interval_s=0.02)
        yield RtmpServer(rtmp_port, http, context)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def is_up(http: Target, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        http.connect_without_tls().close()
    except OSError:
        return False
    return True


def test_large_requests_are_refused(server: RtmpServer) -> None:
    for request, status in (
        (head("GET", "/stat", {}), 200),
        (head("GET", "/" + "x" * 65536, {}), 414),
        (head("GET", "/stat", {"X": "y" * 65536}), 400),
        (b"GET /stat HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 60_000, 400),
        (head("POST", "/stat", {"Content-Length": "100000"}), 413),
    ):
        with server.http.connected(context=server.context) as connection:
            connection.send(request)
            assert connection.status() == status, request[:40]


@pytest.mark.slow
def test_silent_connections_are_ended(server: RtmpServer) -> None:
    with ExitStack() as stack:
        streams = [RawConnection(stack.enter_context(server.connect())) for _ in range(3)]
        silent = RawConnection(stack.enter_context(server.http.connect_without_tls()))
        secured = stack.enter_context(server.http.connected(context=server.context))
        secured.send(b"GET /stat HTTP/1.1\r\n")
        for connection in (*streams, silent, secured):
            assert connection.closed_after_s(10) is not None


def test_streams_are_limited_but_leave_connections_for_http(server: RtmpServer) -> None:
    with ExitStack() as stack:
        streams = [RawConnection(stack.enter_context(server.connect())) for _ in range(12)]
        # Nginx refuses the connections beyond the maximum at once, and the others after a timeout.
        closed_s = [stream.closed_after_s(10) for stream in streams[4:]]
        assert all(duration is not None and duration < 0.9 for duration in closed_s)
        with server.http.connected(context=server.context) as connection:
            connection.send(head("GET", "/stat", {}))
            assert connection.status() == 200


def test_nginx_serves_its_counters_to_clients_with_a_certificate(server: RtmpServer) -> None:
    request = head("GET", "/metrics", {})
    with server.connect(), server.http.connected(context=server.context) as connection:
        connection.send(request)
        answer = connection.answer("GET")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.body.decode())
    found = {sample.name: sample.value for family in families for sample in family.samples}
    # The stream's connection is counted, and the connection of this request.
    assert found["nginx_connections_active"] >= 2
    assert found["nginx_connections_writing"] >= 1
    assert set(found) == {
        f"nginx_connections_{state}" for state in ("active", "reading", "writing", "waiting")
    }
    anonymous = ssl.create_default_context(cafile=server.http.ca_file)
    with server.http.connected(context=anonymous) as connection:
        connection.send(request)
        assert connection.status() == 400
