"""Authorization: the roles that requests require, and the node that an agent acts for."""

from ffrtmp_shared.models import Role
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from ffrtmp_master.auth.authentication import Call
from ffrtmp_master.store.credentials import Credential

_Connection = ASGIConnection[BaseRouteHandler, Credential, None, State]

# The roles that each role includes.
_INCLUDED = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.SUBMITTER: frozenset({Role.VIEWER, Role.SUBMITTER}),
    Role.ADMIN: frozenset({Role.VIEWER, Role.SUBMITTER, Role.ADMIN}),
    Role.AGENT: frozenset({Role.AGENT}),
}


def check_role(holder: Credential, *roles: Role) -> None:
    """Raise PermissionDeniedException unless the holder's role includes one of `roles`."""
    if _INCLUDED[holder.role].isdisjoint(roles):
        raise PermissionDeniedException(
            f"{holder.name} has the role {holder.role}; this requires {' or '.join(roles)}"
        )


def node_of(holder: Credential) -> str:
    """Return the node of an agent; raises PermissionDeniedException if `holder` is not one."""
    if holder.node is None:
        raise PermissionDeniedException(f"the token of {holder.name} is not an agent token")
    return holder.node


def require_role(*roles: Role) -> Guard:
    """Return a guard that rejects callers whose role does not include one of `roles`."""

    def guard(connection: _Connection, _handler: BaseRouteHandler) -> None:
        check_role(connection.user, *roles)

    return guard


def agent_node(call: Call) -> str:
    """Return the node of the calling agent; raises PermissionDeniedException for other callers."""
    return node_of(call.user)


def check_own_node(call: Call, name: str) -> None:
    """Raise PermissionDeniedException unless the caller is the agent of node `name`."""
    check_node(call.user, name)


def check_node(holder: Credential, name: str) -> None:
    """Raise PermissionDeniedException unless `holder` is the agent of node `name`."""
    if node_of(holder) != name:
        raise PermissionDeniedException(
            f"the token of {holder.name} is for node {holder.node}, not for {name}"
        )
