"""The audit log of operators' actions. Each is recorded in the transaction that performs it."""

from datetime import datetime
from typing import Any

from ffrtmp_shared.admin import AuditAction, AuditEntry, AuditPage
from sqlalchemy import Connection, insert, select

from ffrtmp_master.store.schema import audit

# Values that earlier releases stored and that remain in the database.
_FORMER_ACTIONS = {
    "token made": AuditAction.CREDENTIAL_CREATED,
    "tokens synchronised": AuditAction.CREDENTIALS_SYNCHRONIZED,
}

COMMAND_LINE = "command line"
"""The actor that is recorded for actions on the command line of the master's host."""


def record(
    connection: Connection,
    now: datetime,
    actor: str,
    action: AuditAction,
    target: str,
    **details: Any,
) -> None:
    """Record an action in the transaction that performs it.

    Args:
        connection: A connection with an open transaction.
        now: The current time.
        actor: The name of the operator or agent.
        action: The kind of action.
        target: The object of the action.
        details: Further facts, as JSON values.
    """
    connection.execute(
        insert(audit).values(at=now, who=actor, deed=action.value, target=target, details=details)
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
            actor=row.who,
            action=_stored_action(row.deed),
            target=row.target,
            details=row.details,
        )
        for row in rows[:limit]
    )
    return AuditPage(items=items, next_cursor=str(items[-1].id) if len(rows) > limit else None)


def _stored_action(value: str) -> AuditAction:
    return _FORMER_ACTIONS.get(value) or AuditAction(value)
