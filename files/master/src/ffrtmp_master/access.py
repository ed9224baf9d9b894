"""Who is asking, and what they may do."""

from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.models import Role
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import Guard

from ffrtmp_master.store import credentials
from ffrtmp_master.store.credentials import Credential

Call = Request[Credential, None, State]
"""A request whose caller is known."""

_Connection = ASGIConnection[BaseRouteHandler, Credential, None, State]

_INCLUDED = {
    Role.VIEWER: frozenset({Role.VIEWER, Role.SUBMITTER, Role.ADMIN}),
    Role.SUBMITTER: frozenset({Role.SUBMITTER, Role.ADMIN}),
    Role.ADMIN: frozenset({Role.ADMIN}),
    Role.AGENT: frozenset({Role.AGENT}),
}

OPEN = {"exclude_from_auth": True}
"""Marks a route that needs no token."""


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Finds the holder of the token that came with a request.

    The token is looked up by its digest: nothing about it can be learnt from how long that takes.
    """

    async def authenticate_request(
        self, connection: ASGIConnection[BaseRouteHandler, Credential, None, State]
    ) -> AuthenticationResult:
        """Return who is asking; raises NotAuthorizedException."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("this needs a token: Authorization: Bearer TOKEN")
        digest = token_sha256(token.strip())
        holder = await connection.app.state.farm.reader.read(
            lambda c: credentials.holder(c, digest)
        )
        if holder is None:
            raise _unauthorized("the token is not known")
        return AuthenticationResult(user=holder, auth=None)


def needs(*roles: Role) -> Guard:
    """Return a guard that lets in whose role is, or includes, one of `roles`."""
    allowed = frozenset[Role]().union(*(_INCLUDED[role] for role in roles))

    def guard(connection: _Connection, _handler: BaseRouteHandler) -> None:
        holder = connection.user
        if holder.role not in allowed:
            raise PermissionDeniedException(
                f"{holder.name} has the role {holder.role}; this needs {' or '.join(roles)}"
            )

    return guard


def agent_node(call: Call) -> str:
    """Return the node whose agent is asking; raises PermissionDeniedException."""
    if call.user.node is None:
        raise PermissionDeniedException(f"{call.user.name} is no agent")
    return call.user.node


def check_own_node(call: Call, name: str) -> None:
    """Raise PermissionDeniedException unless the agent speaks for its own node."""
    if agent_node(call) != name:
        raise PermissionDeniedException(
            f"the token of {call.user.name} is for node {call.user.node}, not for {name}"
        )


def _unauthorized(detail: str) -> NotAuthorizedException:
    return NotAuthorizedException(detail, headers={"WWW-Authenticate": "Bearer"})
