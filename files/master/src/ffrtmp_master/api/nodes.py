"""Nodes: registration, listing, draining and removal."""

from http import HTTPStatus
from typing import Any

from ffrtmp_shared.admin import AuditAction
from ffrtmp_shared.node_models import (
    Node,
    NodeHeartbeat,
    NodeHeartbeatAnswer,
    NodeList,
    NodeUpdate,
    Registration,
)
from ffrtmp_shared.states import NodeState
from litestar import delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.api.path_params import NamePart
from ffrtmp_master.auth import permissions
from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.auth.authorization import check_own_node, require_role
from ffrtmp_master.queue import operator_actions
from ffrtmp_master.services import Services
from ffrtmp_master.store import audit, nodes
from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.unit_of_work import UnitOfWork

InjectedServices = NamedDependency[SkipValidation[Services]]


@put(
    "/v1/nodes/{name:str}",
    guards=[require_role(*permissions.REGISTER_NODE)],
    responses=problems.document_problems(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def register_node(
    request: Call, name: NamePart, data: JSONBody[Registration], services: InjectedServices
) -> Node:
    """Register a node or update its registration. The state of the node does not change."""
    check_own_node(request, name)
    if data.name != name:
        raise UnprocessableError(f"the path names node {name}, but the body names {data.name}")

    def register(work: UnitOfWork) -> Node:
        nodes.register(work.connection, data, work.now)
        # With the new registration, the node may meet the requirements of queued jobs.
        work.effects.freed.add(name)
        return nodes.get_node(work.connection, name, services.liveness.heard_since(work.now))

    return await services.writer.write(register)


@post(
    "/v1/nodes/{name:str}/heartbeat",
    status_code=HTTPStatus.OK,
    guards=[require_role(*permissions.RECORD_HEARTBEAT)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND),
)
async def record_heartbeat(
    request: Call, name: NamePart, data: JSONBody[NodeHeartbeat], services: InjectedServices
) -> NodeHeartbeatAnswer:
    """Store the condition of a node's host, and return the time of the master."""
    check_own_node(request, name)

    def record(work: UnitOfWork) -> None:
        nodes.record_heartbeat(work.connection, name, data, work.now)

    await services.writer.write(record)
    return NodeHeartbeatAnswer(time=services.clock())


@get(
    "/v1/nodes",
    guards=[require_role(*permissions.LIST_NODES)],
    responses=problems.document_problems(),
)
async def list_nodes(services: InjectedServices) -> NodeList:
    """List all nodes, sorted by name."""
    heard_since = services.liveness.heard_since(services.clock())
    return NodeList(items=await services.reader.read(lambda c: nodes.list_all(c, heard_since)))


@patch(
    "/v1/nodes/{name:str}",
    guards=[require_role(*permissions.UPDATE_NODE)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def update_node(
    request: Call, name: NamePart, data: JSONBody[NodeUpdate], services: InjectedServices
) -> Node:
    """Set a node to active or draining. A draining node finishes its jobs and claims no more."""
    if data.state is NodeState.OFFLINE:
        raise UnprocessableError("state: offline cannot be set; allowed are active, draining")
    by = request.user.name

    def update(work: UnitOfWork) -> Node:
        nodes.set_state(work.connection, name, data.state)
        audit.record(
            work.connection, work.now, by, AuditAction.NODE_CHANGED, name, state=data.state
        )
        work.effects.freed.add(name)
        return nodes.get_node(work.connection, name, services.liveness.heard_since(work.now))

    return await services.writer.write(update)


@delete(
    "/v1/nodes/{name:str}",
    guards=[require_role(*permissions.REMOVE_NODE)],
    responses=problems.document_problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def remove_node(request: Call, name: NamePart, services: InjectedServices) -> None:
    """Remove a node and cancel the queued jobs that are bound to it.

    If the node holds a job, the response is 409.
    """
    by = request.user.name

    def remove(work: UnitOfWork) -> None:
        operator_actions.remove_node(work, name, by)
        audit.record(work.connection, work.now, by, AuditAction.NODE_REMOVED, name)

    await services.writer.write(remove)


ROUTES: tuple[Any, ...] = (register_node, record_heartbeat, list_nodes, update_node, remove_node)
