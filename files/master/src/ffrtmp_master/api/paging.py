"""Cursors of lists: opaque to callers, checked here."""

from uuid import UUID

from ffrtmp_master.store.refusals import UnacceptableError

PAGE = 200
"""How many items a page has."""


def after_id(cursor: str) -> UUID | None:
    """Read a cursor that is an id; empty means the beginning."""
    if not cursor:
        return None
    try:
        return UUID(cursor)
    except ValueError as error:
        raise UnacceptableError(f"{cursor!r} is no cursor of this list") from error


def after_sequence(cursor: str) -> int:
    """Read a cursor that is a number; empty means the beginning."""
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit()):
        raise UnacceptableError(f"{cursor!r} is no cursor of this list")
    return int(cursor)
