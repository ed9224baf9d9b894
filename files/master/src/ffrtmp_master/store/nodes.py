"""The nodes as they are kept, and which of them are online."""

from datetime import datetime
from uuid import UUID

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Node, Registration
from ffrtmp_shared.states import NodeState
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.schema import nodes


def register(connection: Connection, registration: Registration, now: datetime) -> UUID:
    """Keep what an agent says of its node. A node that is known keeps its id and its state."""
    changed: UUID | None = connection.execute(
        update(nodes)
        .where(nodes.c.name == registration.name)
        .values(registration=registration, last_seen_at=now, revision=nodes.c.revision + 1)
        .returning(nodes.c.id)
    ).scalar()
    if changed is not None:
        return changed
    node_id = new_id()
    connection.execute(
        insert(nodes).values(
            id=node_id,
            name=registration.name,
            state=NodeState.ACTIVE,
            registration=registration,
            revision=1,
            registered_at=now,
            last_seen_at=now,
        )
    )
    return node_id


def mark_seen(connection: Connection, name: str, now: datetime) -> None:
    """Note that an agent of the node was heard."""
    connection.execute(update(nodes).where(nodes.c.name == name).values(last_seen_at=now))


def get_node_row(connection: Connection, name: str) -> Row[tuple[object, ...]]:
    """Return the node's row; raises NotFoundError."""
    row = connection.execute(select(nodes).where(nodes.c.name == name)).first()
    if row is None:
        raise NotFoundError(f"there is no node {name}")
    return row


def set_state(connection: Connection, name: str, state: NodeState) -> None:
    """Let a node work or drain it; raises NotFoundError."""
    changed = connection.execute(update(nodes).where(nodes.c.name == name).values(state=state))
    if not changed.rowcount:
        raise NotFoundError(f"there is no node {name}")


def remove_node(connection: Connection, name: str) -> None:
    """Forget a node; raises NotFoundError."""
    if not connection.execute(delete(nodes).where(nodes.c.name == name)).rowcount:
        raise NotFoundError(f"there is no node {name}")


def last_seen_before(connection: Connection, now: datetime) -> datetime | None:
    """Return when any node was heard last; what is noted for after `now` was heard just now.

    The clock that noted it was put back since.
    """
    connection.execute(update(nodes).where(nodes.c.last_seen_at > now).values(last_seen_at=now))
    found: datetime | None = connection.execute(select(func.max(nodes.c.last_seen_at))).scalar()
    return found


def get_node(connection: Connection, name: str, heard_since: datetime) -> Node:
    """Return a node, offline unless it was heard since then; raises NotFoundError."""
    return _node(get_node_row(connection, name), heard_since)


def list_all(connection: Connection, heard_since: datetime) -> tuple[Node, ...]:
    """Return all nodes by name; those that were not heard since then are offline."""
    rows = connection.execute(select(nodes).order_by(nodes.c.name))
    return tuple(_node(row, heard_since) for row in rows)


def _node(row: Row[tuple[object, ...]], heard_since: datetime) -> Node:
    is_offline = row.last_seen_at < heard_since
    return Node(
        id=row.id,
        name=row.name,
        state=NodeState.OFFLINE if is_offline else NodeState(row.state),
        registration=row.registration,
        registered_at=row.registered_at,
        last_seen_at=row.last_seen_at,
    )
