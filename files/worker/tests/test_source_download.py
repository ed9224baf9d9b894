"""Tests of downloads from URLs that suites name, with real sockets."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import trustme
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_worker.agent.settings import AgentSettings
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.inputs.address_policy import AddressPolicy, RefusedAddressError, parse_networks
from ffrtmp_worker.inputs.download import DownloadLimits, UrlAccess, download_url
from polling import TIMEOUT_S

from .conftest import LOOPBACK_ALLOWED

_HOST_ONLY = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "127.0.0.1",
    "127.8.9.1",
    "169.254.169.254",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
]
_PRIVATE = ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.1.2.3"]
_PUBLIC = ["93.184.215.14", "172.32.0.1", "2606:2800:21f::1", "64:ff9b::5db8:d70e"]

QUICK = DownloadLimits(deadline_s=20.0, min_bytes_per_s=1000, rate_window_s=0.3, reply_s=0.5)


# --- addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize("address", _HOST_ONLY)
def test_addresses_of_a_host_or_a_link_are_always_refused(address: str) -> None:
    everything = AddressPolicy(allowed=parse_networks(["0.0.0.0/0", "::/0"]))
    for policy in (AddressPolicy(), everything):
        with pytest.raises(RefusedAddressError, match="never fetched"):
            policy.check([address])


@pytest.mark.parametrize("address", _PRIVATE)
def test_private_addresses_need_the_setting(address: str) -> None:
    with pytest.raises(RefusedAddressError, match="add its network to worker_source_networks"):
        AddressPolicy().check([address])
    networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.1.0/24", "100.64.0.0/10", "fd00::/8"]
    assert AddressPolicy(allowed=parse_networks(networks)).check([address]) == [address]
    with pytest.raises(RefusedAddressError):
        AddressPolicy(allowed=parse_networks(["192.168.77.0/24"])).check([address])


@pytest.mark.parametrize("address", _PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert AddressPolicy().check([address]) == [address]


def test_every_address_of_a_name_is_checked() -> None:
    with pytest.raises(RefusedAddressError, match=r"127\.0\.0\.1"):
        AddressPolicy().check(["93.184.215.14", "127.0.0.1"])
    with pytest.raises(RefusedAddressError):
        AddressPolicy().check([])
    with pytest.raises(RefusedAddressError):
        AddressPolicy().check(["clips.example"])


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("127.0.0.0/8", "never allowed"),
        ("169.254.169.254/32", "never allowed"),
        ("::1/128", "never allowed"),
        ("10.0.0.1/8", "host bits"),
        ("clips.example", "does not appear"),
    ],
)
def test_invalid_networks_of_the_settings_are_refused(network: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"source_networks: .*{reason}"):
        _settings(network)
    assert _settings("10.0.0.0/8").source_networks == ("10.0.0.0/8",)


def _settings(network: str) -> AgentSettings:
    nowhere = Path("/nowhere")
    return AgentSettings(
        master_url="https://master1:8080",
        token_file=nowhere,
        ca_file=nowhere,
        node_name="worker1",
        address="worker1",
        work_dir=nowhere,
        spool_dir=nowhere,
        cache_dir=nowhere,
        ffmpeg=nowhere,
        ffprobe=nowhere,
        quality_ffmpeg=nowhere,
        source_networks=(network,),
    )


# --- connections ---------------------------------------------------------------------------

Answer = Callable[[socket.socket], None]


class Server:
    """A server on this host that gives the same answer to each connection."""

    def __init__(self, answer: Answer, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._answer, self._tls = answer, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Server":
        """Start to accept connections."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT_S)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                opened = connection
                if self._tls is not None:
                    opened = self._tls.wrap_socket(connection, server_side=True)
                with opened:
                    self.requests.append(opened.recv(65_536))
                    self._answer(opened)


def _clip(opened: socket.socket) -> None:
    opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nmoving pictures")


def _content(
    url: str,
    policy: AddressPolicy = LOOPBACK_ALLOWED,
    limits: DownloadLimits = QUICK,
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> bytes:
    return b"".join(download_url(url, UrlAccess(policy=policy, limits=limits, tls=tls)))


def _error(
    url: str, policy: AddressPolicy = LOOPBACK_ALLOWED, **more: object
) -> AttemptFailedError:
    started_s = time.monotonic()
    with pytest.raises(AttemptFailedError) as caught:
        _content(url, policy, **more)  # type: ignore[arg-type]
    assert time.monotonic() - started_s < 10
    return caught.value


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0", "[::ffff:127.0.0.1]"],
)
def test_services_of_this_host_are_never_connected_to(host: str) -> None:
    with Server(_clip) as server:
        error = _error(f"http://{host}:{server.port}/clip.mp4", AddressPolicy())
        assert error.failure_class is FailureClass.INVALID_SETTINGS
        assert "is refused" in str(error)
    assert server.connections == 0


def test_a_name_is_resolved_once_and_the_checked_address_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check that a resolver that answers with another address later changes nothing."""
    answers = iter(["127.0.0.1"])

    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        address = next(answers)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    with Server(_clip) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        url = f"http://clips.example:{server.port}/a/clip.mp4?version=1"
        assert _content(url) == b"moving pictures"
    (request,) = server.requests
    assert request.startswith(b"GET /a/clip.mp4?version=1 HTTP/1.1\r\n")
    assert f"Host: clips.example:{server.port}\r\n".encode() in request
    assert next(answers, None) is None


@pytest.mark.parametrize(("name", "is_valid"), [("clips.example", True), ("else.example", False)])
def test_the_certificate_must_be_valid_for_the_name(
    monkeypatch: pytest.MonkeyPatch, name: str, *, is_valid: bool
) -> None:
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("clips.example").configure_cert(server_tls)
    names: list[str | None] = []
    server_tls.sni_callback = lambda _socket, sent, _context: names.append(sent)

    def trust() -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    with Server(_clip, tls=server_tls) as server:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
        url = f"https://{name}:{server.port}/clip.mp4"
        if is_valid:
            assert _content(url, tls=trust) == b"moving pictures"
        else:
            error = _error(url, tls=trust)
            assert error.failure_class is FailureClass.NETWORK
            assert "the certificate of" in str(error)
    assert names == [name]


def _drip(opened: socket.socket, start: bytes, pause_s: float) -> None:
    opened.sendall(start)
    while True:
        time.sleep(pause_s)
        opened.sendall(b"x")


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda opened: _drip(opened, _HEAD, 0.02), "fewer than 1000 bytes per second"),
        (lambda opened: _drip(opened, b"HTTP/1.1 200 OK\r\nA: ", 0.02), "the header was not comp"),
        (lambda opened: opened.recv(1), "the header was not complete after 0.5 s"),
        (
            lambda opened: opened.sendall(_HEAD + b"x" * 10),
            "ended the connection 999990 bytes before the end",
        ),
        (lambda opened: opened.sendall(b"SSH-2.0-secret\r\n"), "the reply is not valid HTTP"),
        (lambda opened: opened.sendall(b""), "the connection failed"),
        (
            lambda opened: opened.sendall(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
            ),
            "returned the status 302",
        ),
    ],
)
def test_replies_that_cannot_be_used_end_the_download(answer: Answer, reason: str) -> None:
    with Server(answer) as server:
        error = _error(f"http://127.0.0.1:{server.port}/clip.mp4")
    assert error.failure_class is FailureClass.NETWORK
    assert reason in str(error)
    assert "secret" not in str(error)


def test_a_download_has_a_total_deadline() -> None:
    def send(opened: socket.socket) -> None:
        opened.sendall(_HEAD)
        while True:
            time.sleep(0.01)
            opened.sendall(b"x" * 1000)

    with Server(send) as server:
        limits = msgspec.structs.replace(QUICK, deadline_s=0.7)
        error = _error(f"http://127.0.0.1:{server.port}/clip.mp4", limits=limits)
    assert "the download was not complete after" in str(error)
    assert "worker_source_deadline_s" in str(error)


def test_a_handshake_without_an_answer_ends() -> None:
    silent = threading.Event()
    with Server(lambda _: silent.wait(TIMEOUT_S) and None) as server:
        error = _error(f"https://127.0.0.1:{server.port}/clip.mp4")
        silent.set()
    assert "the header was not complete after 0.5 s" in str(error)


def test_a_name_that_is_not_resolved_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(TIMEOUT_S) and [])
    error = _error("http://clips.example/clip.mp4")
    over.set()
    assert "the name was not resolved within 0.5 s" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:password@127.0.0.1/clip.mp4",
        "ftp://127.0.0.1/clip.mp4",
        "http:///clip.mp4",
        "http://127.0.0.1:99999/clip.mp4",
        "http://[::1/clip.mp4",
    ],
)
def test_invalid_urls_are_refused(url: str) -> None:
    assert _error(url).failure_class is FailureClass.INVALID_SETTINGS


def test_a_download_that_is_not_read_to_its_end_leaves_nothing() -> None:
    def send(opened: socket.socket) -> None:
        opened.sendall(_HEAD + b"x" * 1_000_000)

    before = threading.active_count()
    with Server(send) as server:
        chunks: Iterator[bytes] = download_url(
            f"http://127.0.0.1:{server.port}/clip.mp4",
            UrlAccess(policy=LOOPBACK_ALLOWED, limits=QUICK),
        )
        assert next(chunks)
        chunks.close()  # type: ignore[attr-defined]
    assert threading.active_count() <= before + 1


@pytest.mark.parametrize(
    "url",
    [
        "http://user:m4rk3d@127.0.0.1:1/clip.mp4",
        "http://user:m4rk3d@m4rk3d@127.0.0.1:1/clip.mp4",
        "http://127.0.0.1:1/clip.mp4?signature=m4rk3d",
        "http://user:m4rk3d@[127.0.0.1:1/clip.mp4",
        "http://user:m4rk3d/m4rk3d@127.0.0.1/clip.mp4",
        "http://user:m4rk3d?m4rk3d@127.0.0.1/clip.mp4",
        "http://10.0.0.1/clip.mp4?signature=m4rk3d",
        "ftp://user:m4rk3d@127.0.0.1/clip.mp4",
        "m4rk3d@127.0.0.1/clip.mp4?m4rk3d",
    ],
)
def test_no_message_contains_a_secret_of_a_url(url: str) -> None:
    with pytest.raises(AttemptFailedError) as failed:
        b"".join(download_url(url, UrlAccess(policy=LOOPBACK_ALLOWED, limits=QUICK)))
    assert "m4rk3d" not in str(failed.value)


def test_a_message_names_the_place_of_a_url() -> None:
    with pytest.raises(AttemptFailedError, match=r"http://127\.0\.0\.1:1/clip\.mp4\?\.\.\. "):
        b"".join(
            download_url(
                "http://127.0.0.1:1/clip.mp4?a=b", UrlAccess(policy=LOOPBACK_ALLOWED, limits=QUICK)
            )
        )
