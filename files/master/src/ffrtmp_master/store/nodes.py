"""Storage of nodes, and whether they are online."""

from datetime import datetime
from uuid import UUID

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.node_models import Node, NodeHeartbeat, Registration
from ffrtmp_shared.states import NodeState
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.schema import nodes


def register(connection: Connection, registration: Registration, now: datetime) -> UUID:
    """Store the registration of a node. A node that was already registered keeps its id and state.

    Args:
        connection: A connection with an open transaction.
        registration: The registration that the agent sent.
        now: The current time.

    Returns:
        The id of the node.
    """
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
    """Set the last-seen time of a node.

    Args:
        connection: A connection with an open transaction.
        name: The name of the node.
        now: The current time.
    """
    connection.execute(update(nodes).where(nodes.c.name == name).values(last_seen_at=now))


def record_heartbeat(
    connection: Connection, name: str, heartbeat: NodeHeartbeat, now: datetime
) -> None:
    """Store the heartbeat of a node in place of the previous one.

    Args:
        connection: A connection with an open transaction.
        name: The name of the node.
        heartbeat: The heartbeat.
        now: The current time.

    Raises:
        NotFoundError: The node does not exist.
    """
    changed = connection.execute(
        update(nodes).where(nodes.c.name == name).values(heartbeat=heartbeat, heartbeat_at=now)
    )
    if not changed.rowcount:
        raise NotFoundError(f"there is no node {name}")


def get_node_row(connection: Connection, name: str) -> Row[tuple[object, ...]]:
    """Return the row of a node. Raises NotFoundError."""
    row = connection.execute(select(nodes).where(nodes.c.name == name)).first()
    if row is None:
        raise NotFoundError(f"there is no node {name}")
    return row


def set_state(connection: Connection, name: str, state: NodeState) -> None:
    """Set the state of a node to active or draining.

    Args:
        connection: A connection with an open transaction.
        name: The name of the node.
        state: The new state.

    Raises:
        NotFoundError: The node does not exist.
    """
    changed = connection.execute(update(nodes).where(nodes.c.name == name).values(state=state))
    if not changed.rowcount:
        raise NotFoundError(f"there is no node {name}")


def remove_node(connection: Connection, name: str) -> None:
    """Remove a node. Raises NotFoundError."""
    if not connection.execute(delete(nodes).where(nodes.c.name == name)).rowcount:
        raise NotFoundError(f"there is no node {name}")


def last_seen_before(connection: Connection, now: datetime) -> datetime | None:
    """Return the latest time at which any node was seen, or None if there are no nodes.

    Last-seen times after `now` were written before the clock was set back. They are set to `now`.
    """
    connection.execute(update(nodes).where(nodes.c.last_seen_at > now).values(last_seen_at=now))
    last_seen_at: datetime | None = connection.execute(
        select(func.max(nodes.c.last_seen_at))
    ).scalar()
    return last_seen_at


def get_node(connection: Connection, name: str, seen_since: datetime) -> Node:
    """Return a node.

    Args:
        connection: A connection to the database.
        name: The name of the node.
        seen_since: The earliest last-seen time with which a node counts as online.

    Returns:
        The node.

    Raises:
        NotFoundError: The node does not exist.
    """
    return _node(get_node_row(connection, name), seen_since)


def list_all(connection: Connection, seen_since: datetime) -> tuple[Node, ...]:
    """Return all nodes, sorted by name. Nodes that were not seen since `seen_since` are offline."""
    rows = connection.execute(select(nodes).order_by(nodes.c.name))
    return tuple(_node(row, seen_since) for row in rows)


def _node(row: Row[tuple[object, ...]], seen_since: datetime) -> Node:
    is_offline = row.last_seen_at < seen_since
    return Node(
        id=row.id,
        name=row.name,
        state=NodeState.OFFLINE if is_offline else NodeState(row.state),
        registration=row.registration,
        registered_at=row.registered_at,
        last_seen_at=row.last_seen_at,
        is_draining=row.state == NodeState.DRAINING,
        heartbeat=row.heartbeat,
        heartbeat_at=row.heartbeat_at,
    )
