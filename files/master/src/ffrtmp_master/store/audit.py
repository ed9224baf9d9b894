"""The audit log: actions of operators, each recorded in the transaction of the action."""

from datetime import datetime
from typing import Any

from ffrtmp_shared.admin import AuditAction, AuditEntry, AuditPage
from sqlalchemy import Connection, insert, select

from ffrtmp_master.store.schema import audit

COMMAND_LINE = "command line"
"""The name that is recorded for actions on the command line of the master's host."""


def record(
    connection: Connection, now: datetime, who: str, deed: AuditAction, target: str, **details: Any
) -> None:
    """Record an action in the open transaction.

    Args:
        connection: A connection with an open transaction.
        now: The current time.
        who: The name of the operator.
        deed: The kind of action.
        target: The object of the action.
        details: Further facts, as JSON values.
    """
    connection.execute(
        insert(audit).values(at=now, who=who, deed=deed.value, target=target, details=details)
    )


def page_of_entries(connection: Connection, before: int | None, limit: int) -> AuditPage:
    """Return a page of the audit log, newest entry first.

    Args:
        connection: A connection to the database.
        before: The id of the entry after which the page begins; None for the first page.
        limit: The maximum number of entries.

    Returns:
        The page.
    """
    query = select(audit).order_by(audit.c.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(audit.c.id < before)
    rows = connection.execute(query).all()
    items = tuple(
        AuditEntry(
            id=row.id,
            at=row.at,
            who=row.who,
            deed=AuditAction(row.deed),
            target=row.target,
            details=row.details,
        )
        for row in rows[:limit]
    )
    return AuditPage(items=items, next_cursor=str(items[-1].id) if len(rows) > limit else None)
