"""Names of the CA of a profile and of the certificate that a server presents instead."""

import ssl
from pathlib import Path

from cryptography import x509
from ffrtmp_client.errors import CertificateError
from ffrtmp_client.options import split_master_url

from ffrtmp_cli.profiles import Profile

_TIMEOUT_S = 10.0
_KEY_BYTES_SHOWN = 8


def explain_rejection(profile: Profile, error: CertificateError) -> str:
    """Return why the certificate of a master is rejected, with the names of both CAs.

    By default the CAs of all farms have the same name, so the beginnings of the identifiers of
    their keys are part of the text.

    Args:
        profile: The connection, whose CA did not sign the certificate.
        error: The rejection.
    """
    authorities = _subjects(profile.ca_file)
    issuer = _issuer(profile.url)
    if authorities is None or issuer is None:
        return str(error)
    return (
        f"the certificate of {profile.url} is rejected: it was issued by {issuer}, but the CA file "
        f"{profile.ca_file} contains {authorities} ({error.reason}). This is another farm, or "
        "its CA was replaced. Use the CA file of this farm: ffrtmp login --ca-file FILE, or "
        "correct --url"
    )


def _subjects(ca_file: str) -> str | None:
    """Return the names of the CAs in a file, or None if they cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(Path(ca_file).read_bytes())
    except (OSError, ValueError):
        return None
    return " and ".join(f"{_name(ca.subject)}{_own_key(ca)}" for ca in found)


def _issuer(url: str) -> str | None:
    """Return the name of the CA that issued the certificate of a server, or None if unknown."""
    parts = split_master_url(url)
    if parts is None or parts.hostname is None:
        return None
    try:
        pem = ssl.get_server_certificate((parts.hostname, parts.port or 443), timeout=_TIMEOUT_S)
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except (OSError, ValueError):
        return None
    return f"{_name(certificate.issuer)}{_issuer_key(certificate)}"


def _name(name: x509.Name) -> str:
    return f'"{name.rfc4514_string()}"'


def _own_key(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return _key_text(found.value.digest)


def _issuer_key(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return _key_text(found.value.key_identifier)


def _key_text(identifier: bytes | None) -> str:
    return f" (key {identifier[:_KEY_BYTES_SHOWN].hex(':')})" if identifier else ""
