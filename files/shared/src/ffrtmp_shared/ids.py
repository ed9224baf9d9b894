"""Identifiers: UUIDv7 everywhere, so that sorting by id is sorting by time of creation."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new UUIDv7 (RFC 9562), greater than those that this process made before it."""
    return uuid7()
