"""Nodes: registering, listing, draining, removing."""

from http import HTTPStatus
from typing import Any

from ffrtmp_shared.admin import Deed
from ffrtmp_shared.models import Node, NodeList, NodeUpdate, Registration, Role
from ffrtmp_shared.states import NodeState
from litestar import delete, get, patch, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from ffrtmp_master.api import problems
from ffrtmp_master.api.path_params import NamePart
from ffrtmp_master.auth.authentication import Call, check_own_node, needs
from ffrtmp_master.queue import operator_actions
from ffrtmp_master.services import Farm
from ffrtmp_master.store import audit, nodes
from ffrtmp_master.store.errors import UnacceptableError
from ffrtmp_master.store.unit_of_work import Work

FarmHere = NamedDependency[SkipValidation[Farm]]


@put(
    "/v1/nodes/{name:str}",
    guards=[needs(Role.AGENT)],
    responses=problems.documented(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def register_node(
    request: Call, name: NamePart, data: JSONBody[Registration], farm: FarmHere
) -> Node:
    """Make a node known, or say anew what it is; its state stays."""
    check_own_node(request, name)
    if data.name != name:
        raise UnacceptableError(f"the path names node {name}, the body {data.name}")

    def register(work: Work) -> Node:
        nodes.register(work.connection, data, work.now)
        # What waits for the node may have become possible.
        work.effects.freed.add(name)
        return nodes.find(work.connection, name, farm.liveness.heard_since(work.now))

    return await farm.writer.write(register)


@get("/v1/nodes", guards=[needs(Role.VIEWER)], responses=problems.documented())
async def list_nodes(farm: FarmHere) -> NodeList:
    """List all nodes by name."""
    heard_since = farm.liveness.heard_since(farm.clock())
    return NodeList(items=await farm.reader.read(lambda c: nodes.every(c, heard_since)))


@patch(
    "/v1/nodes/{name:str}",
    guards=[needs(Role.ADMIN)],
    responses=problems.documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def update_node(
    request: Call, name: NamePart, data: JSONBody[NodeUpdate], farm: FarmHere
) -> Node:
    """Let a node work, or let it finish what it has and claim no more."""
    if data.state is NodeState.OFFLINE:
        raise UnacceptableError(
            "offline is what the master finds out; set active or draining instead"
        )
    by = request.user.name

    def update(work: Work) -> Node:
        nodes.set_state(work.connection, name, data.state)
        audit.write_down(work.connection, work.now, by, Deed.NODE_CHANGED, name, state=data.state)
        work.effects.freed.add(name)
        return nodes.find(work.connection, name, farm.liveness.heard_since(work.now))

    return await farm.writer.write(update)


@delete(
    "/v1/nodes/{name:str}",
    guards=[needs(Role.ADMIN)],
    responses=problems.documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def remove_node(request: Call, name: NamePart, farm: FarmHere) -> None:
    """Forget a node and cancel what is queued for it alone; 409 while it works on a job."""
    by = request.user.name

    def remove(work: Work) -> None:
        operator_actions.remove_node(work, name, by)
        audit.write_down(work.connection, work.now, by, Deed.NODE_REMOVED, name)

    await farm.writer.write(remove)


ROUTES: tuple[Any, ...] = (register_node, list_nodes, update_node, remove_node)
