"""Pagination of lists: page sizes and cursors, which are opaque to clients."""

from typing import Annotated
from uuid import UUID

from litestar.params import QueryParameter

from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.results import START, Position

PAGE = 200
"""The default number of items per page."""

Cursor = Annotated[
    str,
    QueryParameter(
        pattern=r"^[0-9A-Za-z._-]{0,128}$(?!\n)",
        description="the next_cursor of the previous page; empty for the first page",
    ),
]
Limit = Annotated[
    int, QueryParameter(ge=1, le=1000, description="the maximum number of items per page")
]


def after_id(cursor: str) -> UUID | None:
    """Parse a cursor that is an id; an empty cursor means the beginning of the list."""
    if not cursor:
        return None
    try:
        return UUID(cursor)
    except ValueError as error:
        raise UnprocessableError(f"{cursor!r} is not a cursor of this list") from error


def after_position(cursor: str) -> Position:
    """Parse a cursor that is a position; an empty cursor means the beginning of the list."""
    if not cursor:
        return START
    transaction, _, sequence = cursor.partition(".")
    if not (_is_number(transaction) and _is_number(sequence)):
        raise UnprocessableError(f"{cursor!r} is not a cursor of this list")
    return Position(int(transaction), int(sequence))


def before_number(cursor: str) -> int | None:
    """Parse a cursor that is a number; an empty cursor means the beginning of the list."""
    if not cursor:
        return None
    if not _is_number(cursor):
        raise UnprocessableError(f"{cursor!r} is not a cursor of this list")
    return int(cursor)


def _is_number(text: str) -> bool:
    """Return whether `text` is a nonnegative integer that fits into a 64-bit column."""
    return text.isascii() and text.isdigit() and int(text) < 2**63
