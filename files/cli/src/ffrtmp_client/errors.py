"""Errors of the master's client."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


class ApiError(Exception):
    """A failed request. The message is intended for the operator.

    `returned` contains values that the module returns in addition to the message.
    """

    def __init__(self, message: str, **returned: Any) -> None:
        """Store the values to return with the message."""
        super().__init__(message)
        self.returned = returned

    @property
    def is_temporary(self) -> bool:
        """Return whether a retry may succeed."""
        return False


class SettingsError(ApiError):
    """Invalid settings of a call. A retry does not help."""


class CertificateError(SettingsError):
    """A certificate of the master that the CA of the client has not signed.

    `reason` is that of the TLS library.
    """

    def __init__(self, message: str, reason: str) -> None:
        """Store the reason with the message."""
        super().__init__(message)
        self.reason = reason


class UnreachableError(ApiError):
    """No response from the master. It may be restarting, so a retry may help."""

    @property
    def is_temporary(self) -> bool:
        """Always true."""
        return True


class RefusedError(ApiError):
    """An error response of the master, usually with a problem document."""

    def __init__(self, status: int, message: str) -> None:
        """Store the HTTP status with the message."""
        super().__init__(message)
        self.status = status

    @property
    def is_temporary(self) -> bool:
        """Return whether the status is 5xx or 429, in which case a retry may succeed."""
        return (
            self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            or self.status == HTTPStatus.TOO_MANY_REQUESTS
        )


class CorruptError(ApiError):
    """Received data that does not match the digest, size or names that are valid for it."""
