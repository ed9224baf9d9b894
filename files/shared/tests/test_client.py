"""Tests of the client of the master: renewed certificates, and tokens that are not valid."""

import errno
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from ffrtmp_shared import credentials
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.credentials import ClientCertificate


class Master:
    """A server that requires client certificates and records the serial number of each."""

    def __init__(self, authority: trustme.CA) -> None:
        self.serials: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(context)
        serials = self.serials

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                certificate = self.connection.getpeercert()  # type: ignore[attr-defined]
                serials.append(certificate["serialNumber"])
                body = b'{"items": [], "status": "ready"}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def authority() -> trustme.CA:
    """The CA of the server and of the client."""
    return trustme.CA()


@pytest.fixture
def master(authority: trustme.CA) -> Iterator[Master]:
    """A running server."""
    master = Master(authority)
    yield master
    master.stop()


def _install(authority: trustme.CA, folder: Path) -> ClientCertificate:
    issued = authority.issue_cert("worker1")
    certificate = ClientCertificate(folder / "host.pem", folder / "host.key")
    issued.private_key_pem.write_to_path(str(certificate.key_file))
    issued.cert_chain_pems[0].write_to_path(str(certificate.certificate_file))
    return certificate


def test_a_renewed_certificate_is_used_without_a_restart(
    master: Master, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = _install(authority, tmp_path)

    with MasterClient(master.url, "token", tmp_path / "ca.pem", certificate) as client:
        client.nodes()
        client.nodes()
        _install(authority, tmp_path)
        client.nodes()
        certificate.key_file.write_text("not a key")
        client.nodes()

    first, second, renewed, kept = master.serials
    assert first == second != renewed
    assert kept == renewed


def test_a_certificate_that_could_not_be_loaded_is_loaded_later(
    master: Master, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause of a failure may disappear without a change of the files."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = _install(authority, tmp_path)

    def fail(*_: object) -> ssl.SSLContext:
        raise OSError(errno.EMFILE, "Too many open files")

    with MasterClient(master.url, "token", tmp_path / "ca.pem", certificate) as client:
        client.nodes()
        _install(authority, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(credentials, "client_context", fail)
            client.nodes()
        client.nodes()

    first, kept, renewed = master.serials
    assert first == kept != renewed


def test_a_token_that_http_cannot_transmit_is_refused_without_being_shown(
    authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for token in ("secret\nsecret", "secret secret", "secretü", ""):
        with pytest.raises(ValueError, match="visible ASCII characters") as refused:
            MasterClient("https://127.0.0.1:1", token, tmp_path / "ca.pem")
        assert "secret" not in str(refused.value)
        assert refused.value.__cause__ is None
