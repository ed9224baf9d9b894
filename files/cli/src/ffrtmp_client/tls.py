"""TLS of the master's client: its context, and the reasons why a certificate is rejected."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from .errors import CertificateError, SettingsError


def create_context(
    ca_file: str, client_cert: str | None, client_key: str | None, shown: Mapping[str, str]
) -> ssl.SSLContext:
    """Return a context that trusts only one CA.

    Args:
        ca_file: Certificate of the CA.
        client_cert: Certificate to present if the master requests one.
        client_key: Private key of `client_cert`, if it is not in the same file.
        shown: Names of the options in messages, if they differ.

    Raises:
        SettingsError: A file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    names = {name: shown.get(name, name) for name in ("ca_file", "client_cert", "client_key")}
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{names['ca_file']} {ca_file} cannot be read: {error}") from error
    if client_cert is None:
        if client_key is not None:
            raise SettingsError(
                f"{names['client_key']} needs {names['client_cert']}, the certificate of this key"
            )
        return context
    try:
        context.load_cert_chain(client_cert, client_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{names['client_cert']} {client_cert} with {names['client_key']} {client_key} cannot "
            f"be used: {error}"
        ) from error
    return context


def rejection(url: str, ca_file: str, reason: str, shown: Mapping[str, str]) -> SettingsError:
    """Return the error for a certificate of a master that is rejected.

    Args:
        url: URL of the master.
        ca_file: Certificate of the CA.
        reason: Reason of the TLS library.
        shown: Names of the options in messages, if they differ.
    """
    rejected = f"the certificate of {url} is rejected: {reason}"
    if "mismatch" in reason or "not valid for" in reason:
        return SettingsError(
            f"{rejected}. Set {shown.get('master_url', 'master_url')} to a name or address that "
            "the certificate contains."
        )
    if "expired" in reason:
        return SettingsError(
            f"{rejected}. Renew the master's certificate, and check this host's clock."
        )
    return CertificateError(
        f"{rejected}. Set {shown.get('ca_file', 'ca_file')} (now {ca_file}) to the certificate of "
        "the CA that signed the master's certificate, or install a certificate of the farm's CA on "
        "the master.",
        reason,
    )
