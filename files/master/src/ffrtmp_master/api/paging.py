"""Cursors of lists: opaque to callers, checked here."""

from uuid import UUID

from ffrtmp_master.store.refusals import UnacceptableError
from ffrtmp_master.store.results import START, Place

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


def after_place(cursor: str) -> Place:
    """Read a cursor of results; empty means the beginning."""
    if not cursor:
        return START
    transaction, _, sequence = cursor.partition(".")
    if not (_is_number(transaction) and _is_number(sequence)):
        raise UnacceptableError(f"{cursor!r} is no cursor of this list")
    return Place(int(transaction), int(sequence))


def _is_number(text: str) -> bool:
    """Return whether `text` is a number that a column of 64 bits can hold."""
    return text.isascii() and text.isdigit() and int(text) < 2**63
