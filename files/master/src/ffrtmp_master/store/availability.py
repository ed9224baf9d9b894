"""Errors that concern the whole database, and not the operation during which they occur."""

import errno

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class WriterClosedError(Exception):
    """An operation was submitted after the writer was closed."""


UNAVAILABLE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, WriterClosedError)
"""The errors that are raised while the database cannot be reached or written, or is closed.

They say nothing about the item that was being handled.
"""

_DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_PG_DISK_FULL = "53100"
_PG_READ_ONLY = "25006"
_SQLITE_READ_ONLY = "attempt to write a readonly database"


def is_full(error: Exception) -> bool:
    """Return whether an error was caused by a full disk or an exceeded quota."""
    if isinstance(error, OSError):
        return error.errno in _DISK_FULL_ERRNOS
    if not isinstance(error, DBAPIError):
        return False
    return "disk is full" in str(error.orig) or getattr(error.orig, "sqlstate", "") == _PG_DISK_FULL


def is_read_only(error: Exception) -> bool:
    """Return whether a write was refused because the database is read-only.

    PostgreSQL refuses writes on a server that was the primary before a failover.
    """
    if not isinstance(error, DBAPIError):
        return False
    if getattr(error.orig, "sqlstate", None) == _PG_READ_ONLY:
        return True
    return _SQLITE_READ_ONLY in str(error.orig)
