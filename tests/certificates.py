"""Certificates and revocation lists of a private CA, for tests of TLS servers."""

import os
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

HOST = "127.0.0.1"


class Site:
    """A folder with the files of a TLS server, and clients that its CA has certified."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.certificate_file = folder / "host.pem"
        self.key_file = folder / "host.key"
        self.ca_file = folder / "ca.pem"
        self.crl_file = folder / "crl.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        self.renew()

    def renew(self, not_after: datetime | None = None) -> trustme.LeafCert:
        """Replace certificate and key of the server, as the roles do: each at once."""
        issued = self.authority.issue_cert(HOST, not_after=not_after)
        self.replace(self.key_file, issued.private_key_pem.bytes())
        self.replace(self.certificate_file, issued.cert_chain_pems[0].bytes())
        return issued

    def replace(self, path: Path, content: bytes) -> None:
        """Replace a file, so that a reader finds either the old or the new content."""
        part = path.with_suffix(".part")
        part.write_bytes(content)
        os.replace(part, path)  # noqa: PTH105

    def context(self, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """Return the TLS context of a client, by default one with a new certificate."""
        context = self.anonymous_context()
        (client or self.authority.issue_cert("client")).configure_cert(context)
        return context

    def anonymous_context(self) -> ssl.SSLContext:
        """Return the TLS context of a client without a certificate."""
        return ssl.create_default_context(cafile=self.ca_file)

    def revoke(
        self,
        clients: Iterable[trustme.LeafCert],
        issued: datetime | None = None,
        next_update: datetime | None = None,
    ) -> None:
        """Write a revocation list with the certificates of some clients."""
        now = issued or datetime.now(UTC) - timedelta(minutes=1)
        authority = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes())
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.subject)
            .last_update(now)
            .next_update(next_update or now + timedelta(days=1000))
        )
        for client in clients:
            certificate = x509.load_pem_x509_certificate(client.cert_chain_pems[0].bytes())
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(now)
                .build()
            )
        key = serialization.load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
        self.replace(self.crl_file, signed.public_bytes(serialization.Encoding.PEM))
