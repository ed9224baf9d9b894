"""Tokens and TLS: how a token is made, kept and compared, and whom a client trusts."""

import hashlib
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

_TOKEN_BYTES = 32


def new_token() -> str:
    """Return a new random token of 256 bits, in URL-safe base64."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_sha256(token: str) -> str:
    """Return the hexadecimal SHA-256 by which a token is kept.

    A slow password hash would add nothing: the token is 256 random bits and cannot be guessed.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def read_token(path: Path) -> str:
    """Read a token from its file; raises OSError, or ValueError when the file is empty."""
    token = path.read_text(encoding="ascii").strip()
    if not token:
        raise ValueError(f"{path} holds no token")
    return token


@dataclass(frozen=True)
class ClientCertificate:
    """What a client shows where the master asks for a certificate."""

    certificate_file: Path
    key_file: Path

    @classmethod
    def from_files(
        cls, certificate_file: Path | None, key_file: Path | None
    ) -> "ClientCertificate | None":
        """Put what an operator set together; None when nothing is shown. Raises ValueError."""
        if certificate_file is None and key_file is None:
            return None
        if certificate_file is None or key_file is None:
            raise ValueError("certificate_file and key_file go together: set both or neither")
        return cls(certificate_file, key_file)


def client_context(ca_file: Path, shown: ClientCertificate | None = None) -> ssl.SSLContext:
    """Return a TLS context that trusts the farm's CA and nobody else, and shows a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=ca_file)
    if shown is not None:
        context.load_cert_chain(shown.certificate_file, shown.key_file)
    return context
