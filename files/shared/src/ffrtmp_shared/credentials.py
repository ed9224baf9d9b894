"""Tokens and TLS: creation and hashing of tokens, and TLS contexts of clients."""

import hashlib
import logging
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

_TOKEN_BYTES = 32
_CHECK_INTERVAL_S = 10.0


def new_token() -> str:
    """Return a new random token of 256 bits, in URL-safe base64."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_sha256(token: str) -> str:
    """Return the hexadecimal SHA-256 digest that is stored instead of a token.

    A slow password hash is not needed: a token has 256 random bits and cannot be guessed.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def read_token(path: Path) -> str:
    """Return the token in the file `path`. Raises OSError, or ValueError if the file is empty."""
    token = path.read_text(encoding="ascii").strip()
    if not token:
        raise ValueError(f"{path} is empty; it must contain a token")
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


class RenewableContext:
    """A client's TLS context that presents a renewed certificate without a restart.

    A long-running client would otherwise present the certificate with which it was started, even
    after that has expired.
    """

    def __init__(
        self,
        ca_file: Path,
        client_certificate: ClientCertificate | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the context; see `client_context`. `clock` returns the time in seconds."""
        self.context = client_context(ca_file, client_certificate)
        self._ca_file = ca_file
        self._certificate = client_certificate
        self._clock = clock
        self._states = self._read_states()
        self._checked_at_s = clock()

    def refresh(self) -> None:
        """Load the files again for new connections if they have changed.

        If the changed files cannot be loaded, the previous certificate stays in use.
        """
        if self._clock() - self._checked_at_s < _CHECK_INTERVAL_S:
            return
        self._checked_at_s = self._clock()
        try:
            states = self._read_states()
            if states == self._states:
                return
            self._states = states
            # A certificate without its key would replace the previous one in the context.
            client_context(self._ca_file, self._certificate)
            self.context.load_verify_locations(cafile=self._ca_file)
            if self._certificate is not None:
                self.context.load_cert_chain(
                    self._certificate.certificate_file, self._certificate.key_file
                )
        except OSError as error:
            _log.warning("changed certificate files could not be loaded: %s", error)

    def _read_states(self) -> tuple[tuple[int, int, int], ...]:
        paths = [self._ca_file]
        if self._certificate is not None:
            paths += [self._certificate.certificate_file, self._certificate.key_file]
        return tuple(
            (state.st_ino, state.st_size, state.st_mtime_ns)
            for state in (path.stat() for path in paths)
        )
