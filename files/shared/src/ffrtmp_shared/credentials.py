"""Tokens and TLS: creation and hashing of tokens, and TLS contexts of clients."""

import hashlib
import re
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

_TOKEN_BYTES = 32
_TOKEN_MAX_CHARACTERS = 4096
_TOKEN = re.compile(rf"[!-~]{{1,{_TOKEN_MAX_CHARACTERS}}}")


def new_token() -> str:
    """Return a new random token of 256 bits, in URL-safe base64."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_sha256(token: str) -> str:
    """Return the hexadecimal SHA-256 digest that is stored instead of a token.

    A slow password hash is not needed: a token has 256 random bits and cannot be guessed.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def read_token(path: Path) -> str:
    """Return the token in the file `path`, without white space at its beginning and end.

    Raises OSError if the file cannot be read, or ValueError if it does not contain one token. The
    message never contains any part of the file.
    """
    with path.open("rb") as file:
        content = file.read(2 * _TOKEN_MAX_CHARACTERS)
    try:
        return check_token(content.strip().decode("latin-1"))
    except ValueError as error:
        raise ValueError(f"{path} must contain a token in one line: {error}") from None


def check_token(token: str) -> str:
    """Return the token. Raises ValueError, without the token, if HTTP cannot transmit it."""
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            f"a token has 1 to {_TOKEN_MAX_CHARACTERS} visible ASCII characters, without a line "
            "feed or a space"
        )
    return token


@dataclass(frozen=True)
class ClientCertificate:
    """The certificate that a client presents if the server requests one."""

    certificate_file: Path
    key_file: Path

    @classmethod
    def from_files(
        cls, certificate_file: Path | None, key_file: Path | None
    ) -> "ClientCertificate | None":
        """Return the certificate, or None if no file is set. Raises ValueError if only one is."""
        if certificate_file is None and key_file is None:
            return None
        if certificate_file is None or key_file is None:
            raise ValueError("certificate_file and key_file go together: set both or neither")
        return cls(certificate_file, key_file)


def client_context(
    ca_file: Path, client_certificate: ClientCertificate | None = None
) -> ssl.SSLContext:
    """Return a TLS context that trusts only the CA in `ca_file`.

    If there is a `client_certificate`, the context presents it to servers that request one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=ca_file)
    if client_certificate is not None:
        context.load_cert_chain(client_certificate.certificate_file, client_certificate.key_file)
    return context
