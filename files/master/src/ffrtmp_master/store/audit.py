"""What was done to the farm, by whom: written with the deed, in its transaction, and kept."""

from datetime import datetime
from typing import Any

from ffrtmp_shared.admin import AuditAction, AuditEntry, AuditPage
from sqlalchemy import Connection, insert, select

from ffrtmp_master.store.schema import audit

COMMAND_LINE = "command line"
"""Who did it, of what is done on the master's own host."""


def record(
    connection: Connection, now: datetime, who: str, deed: AuditAction, target: str, **details: Any
) -> None:
    """Write down that `who` does `deed` to `target` in the transaction that is open."""
    connection.execute(
        insert(audit).values(at=now, who=who, deed=deed.value, target=target, details=details)
    )


def page_of_entries(connection: Connection, before: int | None, limit: int) -> AuditPage:
    """Return up to `limit` deeds, newest first, that were written before the entry `before`."""
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
