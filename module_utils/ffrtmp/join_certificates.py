"""Checks of the certificates in the archive with which a worker joins the farm."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.ffrtmp.join_archive import TIME_FORMAT, JoinArchive, JoinArchiveError
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPublicKeyTypes,
    PrivateKeyTypes,
)


class Certificates(NamedTuple):
    """The parsed files of an archive."""

    authorities: list[x509.Certificate]
    revocations: x509.CertificateRevocationList
    host: x509.Certificate
    key: PrivateKeyTypes


def parse(archive: JoinArchive) -> Certificates:
    """Return the certificates, the revocation list and the key of an archive.

    Raises:
        JoinArchiveError: A file is not in PEM format, or the key has a passphrase.
    """
    files = archive.files
    name = "ca.pem"
    try:
        authorities = x509.load_pem_x509_certificates(files[name])
        name = "crl.pem"
        revocations = x509.load_pem_x509_crl(files[name])
        name = "host.pem"
        host = x509.load_pem_x509_certificate(files[name])
        name = "host.key"
        key = serialization.load_pem_private_key(files[name], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The messages of the library do not contain parts of the key, but they are not needed.
        raise JoinArchiveError(
            f"{name} in the archive does not have the expected PEM format."
        ) from error
    return Certificates(authorities, revocations, host, key)


def load_certificate(path: Path) -> x509.Certificate:
    """Return the certificate in a PEM file.

    Raises:
        JoinArchiveError: The file does not contain a certificate.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise JoinArchiveError(
            f"{path} does not contain a certificate in PEM format. Delete this file."
        ) from error


def newest_revocations(archive: JoinArchive, stored: Path) -> bytes:
    """Return the revocation list of an archive, or the stored one if the same CA issued it later.

    The workers of a directory share the list, and their archives may have been written at different
    times. A certificate that was revoked must not become valid again.

    Raises:
        JoinArchiveError: A file of the archive is not in PEM format.
        OSError: The stored list cannot be read.
    """
    found, offered = parse(archive), archive.files["crl.pem"]
    if not stored.is_file():
        return offered
    content = stored.read_bytes()
    try:
        present = x509.load_pem_x509_crl(content)
    except ValueError:
        return offered
    if present.last_update_utc <= found.revocations.last_update_utc:
        return offered
    is_by_same_authority = any(_has_signed(ca, present) for ca in found.authorities)
    return content if is_by_same_authority else offered


def expiry(certificate: x509.Certificate) -> str:
    """Return the end of the validity of a certificate, in UTC as in ISO 8601."""
    return certificate.not_valid_after_utc.strftime(TIME_FORMAT)


def check(archive: JoinArchive, now: datetime) -> None:
    """Check that a worker can use the certificates of an archive.

    Args:
        archive: The archive, whose form is valid.
        now: The present time.

    Raises:
        JoinArchiveError: A certificate is not valid at the time `now`, or the files do not belong
            together.
    """
    found = parse(archive)
    problems = [
        *_host_problems(archive, found),
        *_authority_problems(found, now),
    ]
    if problems:
        raise JoinArchiveError(
            f"The archive of {archive.node} cannot be used: {'; '.join(problems)}. Write a new one "
            f"on the farm's side: ansible-playbook playbooks/join.yml -e node={archive.node}"
        )


def _host_problems(archive: JoinArchive, found: Certificates) -> list[str]:
    host = found.host
    names = host.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    problems = []
    if [name.value for name in names] != [archive.node]:
        problems.append(f"the certificate in host.pem is not that of {archive.node}")
    if _public_bytes(found.key.public_key()) != _public_bytes(host.public_key()):
        problems.append("host.key is not the key of the certificate in host.pem")
    if expiry(host) != archive.expires_at:
        problems.append(
            f"the certificate expires at {expiry(host)}, but the archive states "
            f"{archive.expires_at}"
        )
    if not _is_valid_for(host, archive.settings["address"]):
        problems.append(
            f"the certificate is not valid for the address {archive.settings['address']}"
        )
    return problems


def _authority_problems(found: Certificates, now: datetime) -> list[str]:
    host, problems = found.host, []
    issuer = next((ca for ca in found.authorities if _has_issued(ca, host)), None)
    if issuer is None:
        return ["the certificate in host.pem was not issued by the CA in ca.pem"]
    for name, certificate in (("host.pem", host), ("ca.pem", issuer)):
        if now < certificate.not_valid_before_utc:
            problems.append(
                f"{name} is valid from {certificate.not_valid_before_utc.strftime(TIME_FORMAT)}, "
                f"and the clock of this computer shows {now.strftime(TIME_FORMAT)}"
            )
        if now >= certificate.not_valid_after_utc:
            problems.append(f"{name} expired at {expiry(certificate)}")
    if not _has_signed(issuer, found.revocations):
        problems.append("crl.pem was not signed by the CA in ca.pem")
    elif found.revocations.get_revoked_certificate_by_serial_number(host.serial_number) is not None:
        problems.append("the certificate is revoked")
    return problems


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _has_signed(authority: x509.Certificate, revocations: x509.CertificateRevocationList) -> bool:
    # The issuer of a list has one of the key types that can sign.
    public: CertificateIssuerPublicKeyTypes = authority.public_key()  # type: ignore[assignment]
    return revocations.is_signature_valid(public)


def _is_valid_for(certificate: x509.Certificate, address: str) -> bool:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    names = extension.value
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return address in names.get_values_for_type(x509.DNSName)
    return wanted in names.get_values_for_type(x509.IPAddress)


def _public_bytes(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
