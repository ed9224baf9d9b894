"""Tests of client certificates, also over real TLS connections."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme
from certificates import HOST, Site
from ffrtmp_shared.credentials import ClientCertificate, RenewableContext


def test_a_certificate_requires_its_key() -> None:
    both = ClientCertificate.from_files(Path("me.pem"), Path("me.key"))
    assert both == ClientCertificate(Path("me.pem"), Path("me.key"))
    assert ClientCertificate.from_files(None, None) is None
    with pytest.raises(ValueError, match="set both or neither"):
        ClientCertificate.from_files(Path("me.pem"), None)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def presented(site: Site, client: RenewableContext) -> bytes | None:
    """Return the certificate that a client presents to a server of the site."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(site.certificate_file, site.key_file)
    server_context.load_verify_locations(cafile=site.ca_file)
    server_context.verify_mode = ssl.CERT_REQUIRED
    found: list[bytes | None] = []
    here, there = socket.socketpair()

    def serve() -> None:
        with server_context.wrap_socket(here, server_side=True) as served:
            found.append(served.getpeercert(binary_form=True))

    thread = threading.Thread(target=serve)
    thread.start()
    with client.context.wrap_socket(there, server_hostname=HOST):
        thread.join()
    return found[0]


def der(issued: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def test_a_client_presents_its_renewed_certificate(tmp_path: Path) -> None:
    site, clock = Site(tmp_path), Clock()
    certificate_file, key_file = tmp_path / "client.pem", tmp_path / "client.key"

    def issue() -> trustme.LeafCert:
        issued = site.authority.issue_cert("client")
        site.replace(key_file, issued.private_key_pem.bytes())
        site.replace(certificate_file, issued.cert_chain_pems[0].bytes())
        return issued

    first = issue()
    client = RenewableContext(site.ca_file, ClientCertificate(certificate_file, key_file), clock)
    assert presented(site, client) == der(first)
    first_key = key_file.read_bytes()
    second = issue()
    second_key = key_file.read_bytes()
    client.refresh()
    assert presented(site, client) == der(first), "the files are checked every 10 s"
    # The key has not been replaced yet.
    site.replace(key_file, first_key)
    clock.now += 11
    client.refresh()
    assert presented(site, client) == der(first)
    site.replace(key_file, second_key)
    clock.now += 11
    client.refresh()
    assert presented(site, client) == der(second)
