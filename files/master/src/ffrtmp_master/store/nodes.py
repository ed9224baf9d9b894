"""Storage of nodes, and whether they are online."""

from datetime import datetime
from uuid import UUID

from ffrtmp_shared.ids import new_id
from ffrtmp_shared.node_models import Node, NodeHeartbeat, NodeSuspicion, Registration
from ffrtmp_shared.states import NodeState
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.schema import control_speeds, nodes


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
    row = connection.execute(_with_suspicions().where(nodes.c.name == name)).first()
    if row is None:
        raise NotFoundError(f"there is no node {name}")
    return _node(row, seen_since)


def list_all(connection: Connection, seen_since: datetime) -> tuple[Node, ...]:
    """Return all nodes, sorted by name. Nodes that were not seen since `seen_since` are offline."""
    rows = connection.execute(_with_suspicions().order_by(nodes.c.name))
    return tuple(_node(row, seen_since) for row in rows)


def _with_suspicions() -> Select[tuple[object, ...]]:
    """Return the query for nodes, each with its last control encode since its registration."""
    last_id = (
        select(func.max(control_speeds.c.id))
        .where(control_speeds.c.node == nodes.c.name)
        .correlate(nodes)
        .scalar_subquery()
    )
    return select(
        nodes,
        control_speeds.c.speed,
        control_speeds.c.low,
        control_speeds.c.usual,
        control_speeds.c.high,
        control_speeds.c.suspect_since,
        control_speeds.c.suspect_run_id,
    ).outerjoin_from(
        nodes,
        control_speeds,
        (control_speeds.c.id == last_id) & (control_speeds.c.stored_at >= nodes.c.registered_at),
    )


def _suspicion(row: Row[tuple[object, ...]]) -> NodeSuspicion | None:
    if row.suspect_since is None:
        return None
    return NodeSuspicion(
        since=row.suspect_since,
        run_id=row.suspect_run_id,
        speed=row.speed,
        ratio=row.speed / row.usual,
        low=row.low,
        high=row.high,
    )


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
        suspicion=_suspicion(row),
    )
