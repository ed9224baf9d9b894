"""Tests of mutual TLS: if `client_ca_file` is set, clients need a certificate of that CA."""

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
from databases import only
from ffrtmp_master.settings import Settings
from ffrtmp_shared.client import MasterClient, MasterUnreachableError
from ffrtmp_shared.credentials import ClientCertificate, client_context
from master_process import MasterProcess
from polling import wait_until
from revocation_list import write_list

pytestmark = only("sqlite")


def issued(authority: trustme.CA, folder: Path, name: str) -> ClientCertificate:
    """Issue a certificate, and write it and its key into a folder."""
    issued_certificate = authority.issue_cert(name)
    files = ClientCertificate(folder / f"{name}.pem", folder / f"{name}.key")
    issued_certificate.private_key_pem.write_to_path(files.key_file)
    for pem in issued_certificate.cert_chain_pems:
        pem.write_to_path(files.certificate_file, append=True)
    return files


@dataclass
class MutualTlsMaster:
    """A master that requires client certificates, a client certificate, and a revoked one."""

    master: MasterProcess
    trusted: ClientCertificate
    removed: ClientCertificate
    authority: trustme.CA
    crl_file: Path

    def client(self, presented: ClientCertificate | None, holder: str = "viewer") -> MasterClient:
        return MasterClient(self.master.url, f"token-{holder}", self.master.ca_file, presented)


@pytest.fixture
def tls_master(migrated: Settings, tmp_path: Path) -> Iterator[MutualTlsMaster]:
    authority = trustme.CA()
    ca_file = tmp_path / "client-ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    trusted = issued(authority, tmp_path, "trusted.test")
    removed = issued(authority, tmp_path, "removed.test")
    crl_file = tmp_path / "crl.pem"
    write_list(authority, crl_file, [removed.certificate_file])

    class Master(MasterProcess):
        def client(self, holder: str) -> MasterClient:
            return MasterClient(self.url, f"token-{holder}", self.ca_file, trusted)

    master = Master(tmp_path, migrated)
    document = json.loads(master.config.read_text())
    settings = {"client_ca_file": str(ca_file), "client_crl_file": str(crl_file)}
    master.config.write_text(json.dumps(document | settings))
    with master.serving():
        yield MutualTlsMaster(master, trusted, removed, authority, crl_file)


def test_only_certificates_of_the_ca_are_accepted(
    tls_master: MutualTlsMaster, tmp_path: Path
) -> None:
    with tls_master.client(tls_master.trusted) as client:
        assert client.nodes() == ()
    untrusted = issued(trustme.CA(), tmp_path, "untrusted.test")
    for presented in (None, untrusted):
        with tls_master.client(presented) as client, pytest.raises(MasterUnreachableError):
            client.nodes()
        context = client_context(tls_master.master.ca_file, presented)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{tls_master.master.url}/healthz", verify=context)


def test_a_revoked_certificate_is_rejected(tls_master: MutualTlsMaster) -> None:
    with tls_master.client(tls_master.removed) as client, pytest.raises(MasterUnreachableError):
        client.nodes()
    with tls_master.client(tls_master.trusted) as client:
        assert client.nodes() == ()


@pytest.mark.slow
def test_a_new_list_and_a_new_certificate_are_used_without_a_restart(
    tls_master: MutualTlsMaster,
) -> None:
    authority, crl_file = tls_master.authority, tls_master.crl_file
    master, trusted = tls_master.master, tls_master.trusted
    with tls_master.client(trusted) as client:
        assert client.nodes() == ()
        write_list(authority, crl_file, [trusted.certificate_file])
        wait_until(lambda: not _is_accepted(tls_master, trusted), "the certificate is refused")
        # The list is checked at the beginning of a connection.
        assert client.nodes() == ()
    write_list(authority, crl_file)
    wait_until(lambda: _is_accepted(tls_master, tls_master.removed), "the certificate is accepted")

    address = ("127.0.0.1", httpx.URL(master.url).port or 0)
    before = ssl.get_server_certificate(address)
    renewed = trustme.CA().issue_cert("127.0.0.1")
    renewed.private_key_pem.write_to_path(master.key_file)
    renewed.cert_chain_pems[0].write_to_path(master.certificate_file)
    wait_until(
        lambda: ssl.get_server_certificate(address) != before, "the renewed certificate is served"
    )


def _is_accepted(tls_master: MutualTlsMaster, presented: ClientCertificate) -> bool:
    try:
        with tls_master.client(presented) as client:
            return client.nodes() == ()
    except MasterUnreachableError:
        return False


def test_a_certificate_does_not_replace_the_token(tls_master: MutualTlsMaster) -> None:
    context = client_context(tls_master.master.ca_file, tls_master.trusted)
    answer = httpx.get(f"{tls_master.master.url}/v1/nodes", verify=context)
    assert answer.status_code == 401
