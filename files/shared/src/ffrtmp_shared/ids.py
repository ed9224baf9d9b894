"""Identifiers. They are UUIDv7s, so the order of ids is the order of creation."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new UUIDv7 (RFC 9562), greater than all earlier ones of this process."""
    return uuid7()
