"""With client_ca_file the master talks only to who shows a certificate of that CA."""

import json
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
from serving import MasterProcess

pytestmark = only("sqlite")


def issued(authority: trustme.CA, folder: Path, name: str) -> ClientCertificate:
    """Write a certificate and its key into a folder."""
    made = authority.issue_cert(name)
    files = ClientCertificate(folder / f"{name}.pem", folder / f"{name}.key")
    made.private_key_pem.write_to_path(files.key_file)
    for pem in made.cert_chain_pems:
        pem.write_to_path(files.certificate_file, append=True)
    return files


@dataclass
class Guarded:
    """A master that wants a certificate, and one of its CA."""

    master: MasterProcess
    friend: ClientCertificate

    def client(self, shown: ClientCertificate | None, who: str = "viewer") -> MasterClient:
        return MasterClient(self.master.url, f"token-{who}", self.master.ca_file, shown)


@pytest.fixture
def guarded(migrated: Settings, tmp_path: Path) -> Iterator[Guarded]:
    authority = trustme.CA()
    ca_file = tmp_path / "client-ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    friend = issued(authority, tmp_path, "friend.test")

    class Master(MasterProcess):
        def client(self, who: str) -> MasterClient:
            return MasterClient(self.url, f"token-{who}", self.ca_file, friend)

    master = Master(tmp_path, migrated)
    document = json.loads(master.config.read_text())
    master.config.write_text(json.dumps(document | {"client_ca_file": str(ca_file)}))
    with master.serving():
        yield Guarded(master, friend)


def test_only_a_certificate_of_the_ca_lets_in(guarded: Guarded, tmp_path: Path) -> None:
    with guarded.client(guarded.friend) as client:
        assert client.nodes() == ()
    stranger = issued(trustme.CA(), tmp_path, "stranger.test")
    for shown in (None, stranger):
        with guarded.client(shown) as client, pytest.raises(MasterUnreachableError):
            client.nodes()
        context = client_context(guarded.master.ca_file, shown)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{guarded.master.url}/healthz", verify=context)


def test_a_certificate_is_no_token(guarded: Guarded) -> None:
    context = client_context(guarded.master.ca_file, guarded.friend)
    answer = httpx.get(f"{guarded.master.url}/v1/nodes", verify=context)
    assert answer.status_code == 401
