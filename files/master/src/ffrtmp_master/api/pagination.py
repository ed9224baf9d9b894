"""Pagination of lists: page sizes and cursors, which are opaque to clients."""

from typing import Annotated
from uuid import UUID

from litestar.params import QueryParameter

from ffrtmp_master.store.epochs import is_number
from ffrtmp_master.store.errors import invalid_cursor

PAGE = 200
"""The default number of items per page."""

Cursor = Annotated[
    str,
    QueryParameter(
        pattern=r"^[0-9A-Za-z._-]{0,512}$(?!\n)",
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
        raise invalid_cursor("cursor", cursor) from error


def before_number(cursor: str) -> int | None:
    """Parse a cursor that is a number; an empty cursor means the beginning of the list."""
    if not cursor:
        return None
    if not is_number(cursor):
        raise invalid_cursor("cursor", cursor)
    return int(cursor)
