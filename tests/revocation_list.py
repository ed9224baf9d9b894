"""Revocation lists of the certificate authorities of tests."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def write_list(
    authority: trustme.CA,
    path: Path,
    revoked: Iterable[Path] = (),
    age: timedelta = timedelta(minutes=1),
) -> None:
    """Write a revocation list.

    Args:
        authority: The CA that signs the list.
        path: The file of the list.
        revoked: The files of the revoked certificates.
        age: The time since the list was issued.
    """
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer)
    builder = builder.last_update(now - age)
    builder = builder.next_update(now + timedelta(days=3650))
    for file in revoked:
        serial = x509.load_pem_x509_certificate(file.read_bytes()).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    content = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path.write_bytes(content)
